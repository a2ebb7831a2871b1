"""Scores of labelled frames by method, and their tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One labelled frame by one method."""

    method: str
    patient: str
    sequence: str
    frame: int
    dice: float
    hausdorff_mm: float
    folds_percent: float
    ms: float
    landmarks_nearest_mm: float | None = None
    on_target_percent: float | None = None


def markdown(
    results: Sequence[Result],
    variants: Sequence[Result],
    patients: Sequence[str],
    choices: dict[str, Any],
    absent: Mapping[str, str],
) -> str:
    """Return the table of means, what was chosen, and all variants, which nothing was chosen by."""
    lines = [means_table("method", results, patients), ""]
    lines += ["| patient under test | chosen on the others | their mean Dice |", "|---|---|---|"]
    for patient, choice in choices.items():
        mean = choice["dice_of_training_patients"][choice["chosen"]]
        lines.append(f"| {patient} | {choice['chosen']} | {mean:.3f} |")
    lines += ["", means_table("variant, on the patients under test", variants, patients)]
    if absent:
        lines += ["", "Not measured: " + "; ".join(f"{name} ({reason})" for name, reason in absent.items())]
    return "\n".join(lines) + "\n"


def means_table(title: str, results: Sequence[Result], patients: Sequence[str]) -> str:
    """Return a Markdown table: a line per method, a column per patient, and the means over all frames."""
    lines = [
        f"| {title} | {' | '.join(patients)} | Dice, all | HD mm | folds % | ms / frame |",
        "|---" * (len(patients) + 5) + "|",
    ]
    for method in dict.fromkeys(result.method for result in results):
        own = [result for result in results if result.method == method]
        cells = [
            f"{statistics.fmean(r.dice for r in own if r.patient == patient):.3f}" for patient in patients
        ]
        lines.append(
            f"| {method} | {' | '.join(cells)} | {statistics.fmean(r.dice for r in own):.3f} |"
            f" {statistics.fmean(r.hausdorff_mm for r in own):.1f} |"
            f" {statistics.fmean(r.folds_percent for r in own):.3f} |"
            f" {statistics.median(r.ms for r in own):.0f} |"
        )
    return "\n".join(lines)
