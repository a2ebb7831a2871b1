"""The table of an ablation, as CSV for programs and as Markdown for people."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


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
        official_hd95_voxels: as Learn2Reg's evaluator and the papers after it have it.
        official_sd_log_jacobian: likewise, of the determinant plus 3.
        dice_per_label: label -> Dice; nan for a label that is in one of the two images only.
    """

    dice: float | None
    tre_mm: float | None
    tre30_mm: float | None
    hd95_mm: float | None
    folding_percent: float | None
    sd_log_jacobian: float | None
    seconds: float | None
    features_seconds: float | None
    official_hd95_voxels: float | None = None
    official_sd_log_jacobian: float | None = None
    dice_per_label: Mapping[str, float] = field(default_factory=dict)


_COLUMNS = {
    "dice": ("Dice", 3),
    "tre_mm": ("TRE mm", 2),
    "tre30_mm": ("TRE30 mm", 2),
    "hd95_mm": ("HD95 mm", 1),
    "official_hd95_voxels": ("HD95 L2R", 2),
    "folding_percent": ("folds %", 3),
    "sd_log_jacobian": ("sdLogJ", 3),
    "official_sd_log_jacobian": ("sdLogJ L2R", 3),
    "seconds": ("s / pair", 1),
    "features_seconds": ("features s", 1),
}
_COSTS = {"seconds", "features_seconds"}
# Row name -> case -> what was measured.
Results = Mapping[str, Mapping[str, CaseResult]]


def mean_result(cases: Sequence[CaseResult]) -> CaseResult:
    """Average every score over the cases that have it."""
    return _over(cases, statistics.fmean)


def spread_result(cases: Sequence[CaseResult]) -> CaseResult:
    """Return the standard deviation of every score over the cases that have it, where there are two."""
    return _over(cases, _spread)


def format_csv(results: Results) -> str:
    """Return one line per row and pair, and two per row with the cases "mean" and "sd"."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    labels = _labels(results)
    writer.writerow(["row", "case", *_COLUMNS, *(f"dice_{label}" for label in labels)])
    for name, cases in results.items():
        every = list(cases.values())
        for case, result in [*cases.items(), ("mean", mean_result(every)), ("sd", spread_result(every))]:
            values = [getattr(result, key) for key in _COLUMNS]
            values += [result.dice_per_label.get(label) for label in labels]
            writer.writerow([name, case, *("" if value is None else f"{value:.6g}" for value in values)])
    return stream.getvalue()


def format_markdown(results: Results, titles: Mapping[str, str]) -> str:
    """Return the means per row with standard deviations, then Dice per label, Dice and TRE of every pair.

    Args:
        results: of every row.
        titles: row name -> what it is.
    """
    lines = [format_means(results, titles)]
    labels = _labels(results)
    if labels:
        lines += ["", *_head("Dice of label", *labels)]
        for name, row in results.items():
            mean = mean_result(list(row.values())).dice_per_label
            lines.append(_line(name, *(_number(mean.get(label), 3) for label in labels)))
    cases = list(dict.fromkeys(case for row in results.values() for case in row))
    for key in ("dice", "tre_mm"):
        title, digits = _COLUMNS[key]
        lines += ["", *_head(title, *cases)]
        for name, row in results.items():
            cells = [_number(getattr(row[case], key) if case in row else None, digits) for case in cases]
            lines.append(_line(name, *cells))
    return "\n".join(lines) + "\n"


def format_means(results: Results, titles: Mapping[str, str]) -> str:
    """Return mean and standard deviation per row; see `format_markdown`.

    A column that no case has is left out.
    """
    every = [case for row in results.values() for case in row.values()]
    columns = {key: how for key, how in _COLUMNS.items() if any(getattr(c, key) is not None for c in every)}
    lines = _head("row", "", "pairs", *(title for title, _ in columns.values()))
    for name, cases in results.items():
        mean, spread = (of(list(cases.values())) for of in (mean_result, spread_result))
        cells = []
        for key, (_, digits) in columns.items():
            cell, sd = (_number(getattr(one, key), digits) for one in (mean, spread))
            cells.append(cell if sd == "-" or key in _COSTS else f"{cell} ± {sd}")
        lines.append(_line(name, titles[name], str(len(cases)), *cells))
    return "\n".join(lines)


def _over(cases: Sequence[CaseResult], of: Callable[[list[float]], float | None]) -> CaseResult:
    found = {}
    for key in _COLUMNS:
        values = [value for case in cases if (value := getattr(case, key)) is not None]
        found[key] = of(values) if values else None
    labels = {}
    for label in _labels({"": {str(n): case for n, case in enumerate(cases)}}):
        dice = [case.dice_per_label[label] for case in cases if label in case.dice_per_label]
        known = [value for value in dice if not math.isnan(value)]
        if known and (value := of(known)) is not None:
            labels[label] = value
    return CaseResult(**found, dice_per_label=labels)


def _spread(values: list[float]) -> float | None:
    """Of the population's estimate; None for one value, and where a lost organ makes it infinite."""
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return None
    return statistics.stdev(values)


def _labels(results: Results) -> list[str]:
    found = {label for row in results.values() for case in row.values() for label in case.dice_per_label}
    return sorted(found, key=int)


def _head(*titles: str) -> list[str]:
    return [_line(*titles), "|" + "---|" * len(titles)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
