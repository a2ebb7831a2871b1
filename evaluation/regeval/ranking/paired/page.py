"""A comparison as one HTML file: the tests, and a chart per metric with a line per case."""

from dataclasses import dataclass
from importlib import resources

import numpy as np

from regeval.ranking.page import fill
from regeval.ranking.page.charts import NAME_WIDTH, PLOT_WIDTH, Axis, number_text, ticks_over
from regeval.ranking.page.heat_maps import short_cases
from regeval.ranking.paired.compare_two import Comparison, Difference
from regeval.ranking.paired.text import p_text, title, verdict

_ROW = 18.0
_AXIS = 22.0


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One case: where its two values are; None where there is no number."""

    name: str
    y: float
    first: float | None
    second: float | None
    better: int
    tip: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All cases on one metric, those where the first run is better by most on top."""

    axis: Axis
    higher_is_better: bool
    lines: tuple[CaseLine, ...]
    height: float


def render_comparison(comparison: Comparison) -> str:
    """Return the page."""
    template = (resources.files("regeval.ranking.paired") / "compare.html.jinja").read_text("utf-8")
    return fill(
        template,
        comparison=comparison,
        charts=[chart(comparison, one) for one in comparison.differences],
        title=title,
        verdict=verdict,
        p_text=p_text,
        name_width=NAME_WIDTH,
        chart_width=NAME_WIDTH + PLOT_WIDTH + 26,
    )


def chart(comparison: Comparison, one: Difference) -> Chart:
    """Return the geometry of one metric's chart."""
    finite = one.values[np.isfinite(one.values)]
    ticks = ticks_over(float(finite.min()), float(finite.max())) if finite.size else [0.0, 1.0]
    scale = PLOT_WIDTH / (ticks[-1] - ticks[0])

    def place(value: float) -> float | None:
        return round(NAME_WIDTH + (value - ticks[0]) * scale, 1) if np.isfinite(value) else None

    change = one.values[0] - one.values[1]
    # Where one has no number it is the worse: first or last, as the sign of `better` says.
    size = np.where(np.isfinite(change), np.abs(change), np.finfo(np.float64).max)
    order = np.argsort(-one.better * size, kind="stable")
    names = short_cases(comparison.results.cases)
    first, second = comparison.results.runs
    lines = []
    for row, case in enumerate(order.tolist()):
        a, b = one.values[:, case].tolist()
        tip = f"{comparison.results.cases[case]}: {first} {number_text(a)}, {second} {number_text(b)}"
        lines.append(
            CaseLine(names[case], _ROW * (row + 0.5), place(a), place(b), int(one.better[case]), tip)
        )
    labels = tuple((NAME_WIDTH + (tick - ticks[0]) * scale, f"{tick:g}") for tick in ticks)
    return Chart(
        Axis(title(one), labels), one.metric.higher_is_better, tuple(lines), _ROW * len(lines) + _AXIS
    )
