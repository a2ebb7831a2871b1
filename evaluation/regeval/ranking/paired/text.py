"""A comparison as a table for the terminal and as csv."""

import csv
import io
from collections.abc import Sequence

from regeval.ranking.page.charts import number_text
from regeval.ranking.paired.compare_two import Comparison, Difference
from regeval.scoring.spreadsheet import defused


def format_comparison(comparison: Comparison) -> str:
    """Return one line per metric: means, median change, who is better where, p-values, verdict."""
    first, second = comparison.results.runs
    titles = ("metric", first, second, "median change", "better / worse / equal", "p", "p (Holm)", "")
    rows = [titles, *(_row(comparison, one) for one in comparison.differences)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    lines = [_line(row, widths) for row in rows]
    task, cases = comparison.results.task or "task", len(comparison.results.cases)
    head = f"{task}, {cases} cases, {first} against {second}"
    notes = [f"note: {text}" for text in comparison.warnings()]
    legend = f"better: cases in which {first} is better; means over the cases where both have a number"
    return "\n".join([head, "", lines[0], "-" * max(map(len, lines)), *lines[1:], "", legend, *notes]) + "\n"


def comparison_csv(comparison: Comparison) -> str:
    """Return one line per metric and case: both values and which run is better."""
    first, second = comparison.results.runs
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["metric", "unit", "case", defused(first), defused(second), "change", "better"])
    for one in comparison.differences:
        for case, (a, b), sign in zip(
            comparison.results.cases, one.values.T.tolist(), one.better.tolist(), strict=True
        ):
            better = {1: first, -1: second, 0: ""}[sign]
            cells = ["" if value != value else value for value in (a, b, b - a)]
            writer.writerow([defused(one.metric.name), one.unit, defused(case), *cells, defused(better)])
    return stream.getvalue()


def verdict(comparison: Comparison, one: Difference) -> str:
    """Return who is significantly better."""
    return "not told apart" if one.winner is None else f"{comparison.results.runs[one.winner]} is better"


def title(one: Difference) -> str:
    """Return the metric with its unit."""
    return f"{one.metric.name} ({one.unit})" if one.unit else one.metric.name


def p_text(p: float) -> str:
    """Return a p-value as it is printed."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _row(comparison: Comparison, one: Difference) -> tuple[str, ...]:
    counts = [int((one.better == sign).sum()) for sign in (1, -1, 0)]
    return (
        title(one),
        number_text(one.means[0]),
        number_text(one.means[1]),
        number_text(one.median_change),
        " / ".join(map(str, counts)),
        p_text(one.p),
        p_text(one.corrected),
        verdict(comparison, one),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    last = len(row) - 1
    cells = [
        cell.ljust(width) if column in (0, last) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
