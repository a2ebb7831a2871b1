"""Geometry of the page's charts, in the units of each chart's own view box; the template draws them.

Only numbers are computed here. Names go into the page through the template, which escapes them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.leaderboard import Leaderboard
from regeval.ranking.metric_direction import Metric

ROW = 26.0
NAME_WIDTH = 136.0
PLOT_WIDTH = 300.0
_AXIS = 22.0
_MAX_NAME = 17


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis: ticks as (position, text), and the title of the chart."""

    title: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Box:
    """One box plot: positions along the axis, and one (position, case) per case; None without numbers."""

    run: str
    y: float
    low: float
    quartile_1: float
    median: float
    quartile_3: float
    high: float
    points: tuple[tuple[float, str], ...]
    missing: int
    text: str


@dataclass(frozen=True, slots=True)
class BoxPlot:
    """All runs on one metric; best leaderboard place first."""

    axis: Axis
    higher_is_better: bool
    boxes: tuple[Box, ...]
    height: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Rank of one run and between which ranks it lies."""

    run: str
    y: float
    x: float
    low: float
    high: float
    text: str


def box_plots(board: Leaderboard) -> list[BoxPlot]:
    """Return one chart per metric."""
    return [_box_plot(board, number, metric) for number, metric in enumerate(board.results.metrics)]


def rank_intervals(board: Leaderboard) -> list[Interval]:
    """Return one line per ranked run, best first; empty without a bootstrap."""
    ranked = [one for one in board.standings if one.rank is not None]
    count = len(ranked)
    lines = []
    for row, standing in enumerate(ranked):
        if standing.rank is None or standing.interval is None:  # no bootstrap
            continue
        rank, low, high = (
            NAME_WIDTH + PLOT_WIDTH * (place - 0.5) / count for place in (standing.rank, *standing.interval)
        )
        text = f"rank {standing.rank}, 95 % between {standing.interval[0]} and {standing.interval[1]}"
        lines.append(Interval(standing.run, ROW * (row + 0.5), rank, low, high, text))
    return lines


def rank_axis(board: Leaderboard) -> Axis:
    """Return the axis of the rank intervals."""
    count = max(1, sum(one.rank is not None for one in board.standings))
    places = range(1, count + 1, max(1, count // 10))
    ticks = tuple((NAME_WIDTH + PLOT_WIDTH * (place - 0.5) / count, str(place)) for place in places)
    return Axis("rank", ticks)


def short_name(name: str) -> str:
    """Return a name that fits beside a chart."""
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def number_text(value: float) -> str:
    """Return a number as the page prints it."""
    if not math.isfinite(value):
        return "–"
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1
    return f"{value:.{digits}f}"


def rows_of(board: Leaderboard, number: int) -> list[tuple[str, NDArray[np.float64]]]:
    """Return name and values of each run on one metric, in the order of the leaderboard."""
    index = {run: row for row, run in enumerate(board.results.runs)}
    return [(one.run, board.results.values[number, index[one.run]]) for one in board.standings]


def _box_plot(board: Leaderboard, number: int, metric: Metric) -> BoxPlot:
    values = board.results.values[number]
    finite = values[np.isfinite(values)]
    ticks = ticks_over(float(finite.min()), float(finite.max())) if finite.size else [0.0, 1.0]
    scale = PLOT_WIDTH / (ticks[-1] - ticks[0])
    boxes = []
    for row, (run, of_run) in enumerate(rows_of(board, number)):
        there = np.isfinite(of_run)
        if not there.any():
            of_run = np.full_like(of_run, ticks[0])
        known = of_run[there] if there.any() else of_run
        low, first, middle, third, high = (
            NAME_WIDTH + (place - ticks[0]) * scale
            for place in np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist()
        )
        points = tuple(
            (
                round(NAME_WIDTH + (float(value) - ticks[0]) * scale, 1),
                f"{case}: {number_text(float(value))}{note_on(board, run, case)}",
            )
            for value, case, good in zip(of_run, board.results.cases, there, strict=True)
            if good
        )
        median = number_text(float(np.median(known))) if there.any() else "no number"
        missing = int((~there).sum())
        y = ROW * (row + 0.5)
        boxes.append(Box(run, y, low, first, middle, third, high, points, missing, f"median {median}"))
    labels = tuple((NAME_WIDTH + (tick - ticks[0]) * scale, f"{tick:g}") for tick in ticks)
    axis = Axis(metric.name, labels)
    return BoxPlot(axis, metric.higher_is_better, tuple(boxes), ROW * len(boxes) + _AXIS)


def note_on(board: Leaderboard, run: str, case: str) -> str:
    """Say that a case was scored without a field, if it was."""
    why = board.results.stand_ins.get(run, {}).get(case)
    return "" if why is None else f" (no usable field, scored as {board.results.missing})"


def ticks_over(low: float, high: float) -> list[float]:
    """Return about five round numbers that enclose the values."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 12) for number in range(first, last + 1)]
