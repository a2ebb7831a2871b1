"""The table of an ablation, as CSV for programs and as Markdown for people."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What was measured of one pair in one row; None where the pair has nothing to measure it with.

    Attributes:
        dice: mean over the labels in both images.
        tre_mm: mean over the landmarks.
        tre30_mm: mean over the 30 % of the landmarks with the largest initial error.
        hd95_mm: mean over the labels in both images.
        folding_percent: voxels of the fixed mask with a Jacobian determinant of 0 or less.
        sd_log_jacobian: over the same voxels.
        seconds: from files to the written field.
        features_seconds: part of `seconds` for the features; small where another row had encoded the images.
    """

    dice: float | None
    tre_mm: float | None
    tre30_mm: float | None
    hd95_mm: float | None
    folding_percent: float | None
    sd_log_jacobian: float | None
    seconds: float | None
    features_seconds: float | None


_COLUMNS = {
    "dice": ("Dice", 3),
    "tre_mm": ("TRE mm", 2),
    "tre30_mm": ("TRE30 mm", 2),
    "hd95_mm": ("HD95 mm", 1),
    "folding_percent": ("folds %", 3),
    "sd_log_jacobian": ("sdLogJ", 3),
    "seconds": ("s / pair", 1),
    "features_seconds": ("features s", 1),
}
# Row name -> case -> what was measured.
Results = Mapping[str, Mapping[str, CaseResult]]


def mean_result(cases: Sequence[CaseResult]) -> CaseResult:
    """Average every score over the cases that have it."""
    means = {}
    for field in fields(CaseResult):
        values = [value for case in cases if (value := getattr(case, field.name)) is not None]
        means[field.name] = statistics.fmean(values) if values else None
    return CaseResult(**means)


def format_csv(results: Results) -> str:
    """Return one line per row and pair, and one per row with the case "mean"."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row", "case", *_COLUMNS])
    for name, cases in results.items():
        for case, result in [*cases.items(), ("mean", mean_result(list(cases.values())))]:
            values = asdict(result)
            writer.writerow(
                [name, case, *("" if values[key] is None else f"{values[key]:.6g}" for key in _COLUMNS)]
            )
    return stream.getvalue()


def format_markdown(results: Results, titles: Mapping[str, str]) -> str:
    """Return the means per row, then Dice and TRE of every pair.

    Args:
        results: of every row.
        titles: row name -> what it is.
    """
    lines = [format_means(results, titles)]
    cases = list(dict.fromkeys(case for row in results.values() for case in row))
    for key in ("dice", "tre_mm"):
        title, digits = _COLUMNS[key]
        lines += ["", *_head(title, *cases)]
        for name, row in results.items():
            cells = [_number(getattr(row[case], key) if case in row else None, digits) for case in cases]
            lines.append(_line(name, *cells))
    return "\n".join(lines) + "\n"


def format_means(results: Results, titles: Mapping[str, str]) -> str:
    """Return the means per row; see `format_markdown`."""
    lines = _head("row", "", "pairs", *(title for title, _ in _COLUMNS.values()))
    for name, cases in results.items():
        mean = mean_result(list(cases.values()))
        cells = [_number(getattr(mean, key), digits) for key, (_, digits) in _COLUMNS.items()]
        lines.append(_line(name, titles[name], str(len(cases)), *cells))
    return "\n".join(lines)


def _head(*titles: str) -> list[str]:
    return [_line(*titles), "|" + "---|" * len(titles)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
