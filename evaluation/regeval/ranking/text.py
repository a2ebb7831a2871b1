"""The leaderboard as a table for the terminal and as csv."""

import csv
import io
from collections.abc import Sequence

from regeval.ranking.leaderboard import Leaderboard, Standing
from regeval.ranking.page.charts import number_text
from regeval.scoring.spreadsheet import defused


def format_leaderboard(board: Leaderboard) -> str:
    """Return a fixed-width table: rank, interval, run, score, and per metric the mean with its score.

    In brackets after a run: how many of its cases are scored without a field, and as what.
    """
    metrics = [metric.name for metric in board.results.metrics]
    titles = ("rank", "95 %", "run", "score", *(["gate"] if board.reference else []), *metrics)
    rows = [titles, *(_row(board, standing, metrics) for standing in board.standings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    lines = [_line(row, widths) for row in rows]
    head = f"{board.results.task or 'task'}, {len(board.results.cases)} cases, {board.scheme.method}"
    notes = [f"method: {board.why}"] if board.why else []
    notes += [f"note: {text}" for text in board.warnings()]
    if board.results.left_out:
        parts = [f"{name} ({why})" for name, why in board.results.left_out.items()]
        notes.append(f"not ranked: {', '.join(parts)}")
    blocks = [head, "", lines[0], "-" * max(map(len, lines)), *lines[1:], *([""] if notes else []), *notes]
    return "\n".join(blocks) + "\n"


def leaderboard_csv(board: Leaderboard) -> str:
    """Return the leaderboard as csv: one line per run, full precision, empty where a number is missing.

    Names that a spreadsheet would run as a formula get an apostrophe in front.
    """
    metrics = [metric.name for metric in board.results.metrics]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [
        defused(f"{name} {what}") for name in metrics for what in ("mean", "score", "cases without number")
    ]
    components = list(board.scheme.component_names()) if board.scheme.counts_wins else []
    titles = ["rank", "rank low", "rank high", "run", "score", "gate", *components, "cases without field"]
    writer.writerow([*titles, *columns])
    for one in board.standings:
        gate = "" if one.passed is None else "passed" if one.passed else "not passed"
        row: list[object] = [
            "" if one.rank is None else one.rank,
            *(one.interval or ("", "")),
            defused(one.run),
            _plain(one.score),
            gate,
        ]
        row += [_plain(one.components[name]) for name in components]
        row.append(len(board.results.stand_ins.get(one.run, {})))
        for name in metrics:
            row += [_plain(one.means[name]), _plain(one.metric_scores[name]), one.without_number[name]]
        writer.writerow(row)
    return stream.getvalue()


def _plain(value: float) -> float | str:
    return "" if value != value else value


def _row(board: Leaderboard, standing: Standing, metrics: Sequence[str]) -> tuple[str, ...]:
    interval = "-" if standing.interval is None else "{}-{}".format(*standing.interval)
    gate = [] if standing.passed is None else ["passed" if standing.passed else "no"]
    cells = []
    for name in metrics:
        missing = standing.without_number[name]
        lost = f", {missing} none" if missing else ""
        cells.append(f"{number_text(standing.means[name])} ({_score(standing.metric_scores[name], 2)}{lost})")
    rank = "ref" if standing.rank is None else str(standing.rank)
    stand_ins = board.results.stand_ins.get(standing.run, {})
    run = f"{standing.run} [{len(stand_ins)} {board.results.missing}]" if stand_ins else standing.run
    return (rank, interval, run, _score(standing.score, 3), *gate, *cells)


def _score(value: float, digits: int) -> str:
    return "-" if value != value else f"{value:.{digits}f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column == 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
