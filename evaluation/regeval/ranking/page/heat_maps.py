"""Geometry of the maps of all runs and cases, in the units of each map's own view box.

Only numbers are computed here. Names go into the page through the template, which escapes them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.leaderboard import Leaderboard
from regeval.ranking.metric_direction import Metric
from regeval.ranking.page import charts

_CELL = (13.0, 40.0)

# Run -> case -> address of its picture.
Pictures = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run on one case.

    Attributes:
        run: its row.
        case: its column.
        x: of its left edge.
        y: of its upper edge.
        strength: of the colour, from 0 (worst) to 1 (best); None without number.
        text: the value.
        tip: the same with the names.
        stand_in: whether the case was scored without a field.
        picture: address of what the field did; empty where nothing was drawn.
    """

    run: int
    case: int
    x: float
    y: float
    strength: float | None
    text: str
    tip: str
    stand_in: bool
    picture: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """All runs and cases on one metric."""

    title: str
    higher_is_better: bool
    cell: float
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]
    cells: tuple[Cell, ...]
    width: float
    height: float
    head: float
    shows_text: bool


def heat_maps(board: Leaderboard, pictures: Pictures) -> list[HeatMap]:
    """Return one chart per metric; cells lead to the pictures that there are."""
    return [_heat_map(board, pictures, number, metric) for number, metric in enumerate(board.results.metrics)]


def short_cases(cases: Sequence[str]) -> list[str]:
    """Return the shortest form of the case names that still tells them apart."""
    parts = [re.fullmatch(r"(\d+)_(\d+)<--(\d+)_(\d+)", case) for case in cases]
    matches = [match for match in parts if match]
    if len(matches) == len(cases):
        for form in (r"\1", r"\1←\3", r"\1_\2←\3_\4"):
            names = [match.expand(form) for match in matches]
            if len(set(names)) == len(names):
                return names
    return [charts.short_name(case) for case in cases]


def _heat_map(board: Leaderboard, pictures: Pictures, number: int, metric: Metric) -> HeatMap:
    names = short_cases(board.results.cases)
    cell = round(float(np.clip(620 / len(names), *_CELL)), 1)
    head = 12 + 5.2 * max(map(len, names))
    values = board.results.values[number]
    # Ranked, not proportional: one lost organ must not make all other cells look alike.
    known = np.sort(values[np.isfinite(values)])
    rows, cells = [], []
    for row, (run, of_run) in enumerate(charts.rows_of(board, number)):
        rows.append((head + charts.ROW * (row + 0.5), run))
        for column, (value, case) in enumerate(zip(of_run.tolist(), board.results.cases, strict=True)):
            text = charts.number_text(value)
            place = (round(charts.NAME_WIDTH + column * cell, 1), round(head + row * charts.ROW, 1))
            strength = _strength(value, known, metric) if math.isfinite(value) else None
            note = charts.note_on(board, run, case)
            tip, picture = f"{run}, {case}: {text}{note}", pictures.get(run, {}).get(case, "")
            cells.append(Cell(row, column, *place, strength, text, tip, bool(note), picture))
    columns = tuple((charts.NAME_WIDTH + (column + 0.5) * cell, name) for column, name in enumerate(names))
    return HeatMap(
        title=metric.name,
        higher_is_better=metric.higher_is_better,
        cell=cell,
        rows=tuple(rows),
        columns=columns,
        cells=tuple(cells),
        width=charts.NAME_WIDTH + cell * len(names) + 4,
        height=head + charts.ROW * len(rows) + 4,
        head=head,
        shows_text=cell >= 30,
    )


def _strength(value: float, known: NDArray[np.float64], metric: Metric) -> float:
    below = (np.searchsorted(known, value, "left") + np.searchsorted(known, value, "right")) / 2
    share = float(below / len(known))
    return share if metric.higher_is_better else 1 - share
