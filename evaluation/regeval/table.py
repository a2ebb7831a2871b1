"""The scores of a task as a fixed-width table for people."""

import math
from collections.abc import Sequence

from regeval.scores import CaseScores, MeanScores, mean_scores

_GAP = "   "
_TITLES = ("pair", "Dice", "HD95 mm", "TRE mm", "folds %", "sdLogJ")


def format_table(title: str, before: Sequence[CaseScores], after: Sequence[CaseScores]) -> str:
    """Return one line per pair and the means, each score "before -> after".

    Folds and sdLogJ belong to the field alone, so they have no "before". A score that no pair has leaves no
    column; where one pair lacks it the cell is "-".

    Args:
        title: first line.
        before: scores of the identity.
        after: scores of the fields, of the same pairs in the same order.
    """
    rows = [(one.case, *_cells(one, other)) for one, other in zip(before, after, strict=True)]
    mean_row = ("mean", *_cells(mean_scores(before), mean_scores(after)))
    kept = [column for column in range(len(_TITLES)) if column == 0 or mean_row[column] != "-"]
    lines = [[row[column] for column in kept] for row in (_TITLES, *rows, mean_row)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(kept))]
    text = [_line(line, widths) for line in lines]
    rule = "-" * max(len(line) for line in text)
    table = [title, "", text[0], rule, *text[1:-1], rule, text[-1]]
    if any(score.hd95_mm is not None and math.isinf(score.hd95_mm) for score in (*before, *after)):
        table += ["", "inf: a label that both images have vanished in warping"]
    return "\n".join(table) + "\n"


def _cells(before: CaseScores | MeanScores, after: CaseScores | MeanScores) -> tuple[str, ...]:
    return (
        _change(before.dice, after.dice, 3),
        _change(before.hd95_mm, after.hd95_mm, 2),
        _change(before.tre_mm, after.tre_mm, 2),
        _number(after.folding_percent, 3),
        _number(after.sd_log_jacobian, 3),
    )


def _change(before: float | None, after: float | None, digits: int) -> str:
    if before is None and after is None:
        return "-"
    return f"{_number(before, digits):>6} -> {_number(after, digits):>6}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return _GAP.join((first, *others)).rstrip()
