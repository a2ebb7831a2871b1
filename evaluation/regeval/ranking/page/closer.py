"""The values behind the means, for the part of the page where cases and labels can be picked."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from regeval.ranking.leaderboard import Leaderboard

_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Cell:
    """One run on one metric.

    Attributes:
        mean: over all cases that have a number; nan without.
        cases: JSON, a value per case, null without.
        labels: JSON, per case a value per label of the metric; empty where it has no labels.
        without: how many cases have no number.
    """

    mean: float
    cases: str
    labels: str
    without: int


@dataclass(frozen=True, slots=True)
class Closer:
    """Everything that can be picked.

    Attributes:
        labels: of all metrics, in the order of the files.
        columns: JSON per metric, its own labels.
        rows: run -> a cell per metric, in the order of the leaderboard.
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: dict[str, tuple[Cell, ...]]


def closer(board: Leaderboard) -> Closer:
    """Return the values of a leaderboard."""
    results = board.results
    place = {run: number for number, run in enumerate(results.runs)}
    own = [results.labels.get(metric.name, ()) for metric in results.metrics]
    rows = {}
    for one in board.standings:
        cells = []
        for number, metric in enumerate(results.metrics):
            by_label = results.by_label.get(metric.name)
            labels = (
                "" if by_label is None else _json([_plain(of) for of in by_label[place[one.run]].tolist()])
            )
            cases = _json(_plain(results.values[number, place[one.run]].tolist()))
            cells.append(Cell(one.means[metric.name], cases, labels, one.without_number[metric.name]))
        rows[one.run] = tuple(cells)
    return Closer(
        tuple(dict.fromkeys(label for labels in own for label in labels)),
        tuple(_json(list(labels)) for labels in own),
        rows,
    )


def _plain(values: Sequence[float]) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in values]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
