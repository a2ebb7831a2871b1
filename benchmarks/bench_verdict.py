"""What verdicts say of right pairs, and of pairs that were made wrong on purpose (`made_wrong.py`).

    python benchmarks/bench_verdict.py --data ../shared/data [--output FILE]

Rows that are there already are kept, and graded anew by their evidence. Prints how often each grade was
given, and the area under the curve.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import made_wrong
from common import ROOT, provenance, write_json
from dinoreg.guard.verdict import Evidence, judge
from dinoreg.pipeline.register import register
from dinoreg.settings.load import load_preset
from image_pairs import read_image_pair
from pair_rows import read_rows
from regtask.dataset import Dataset, read_dataset
from stored_otherwise import Case, read_case, score

# Pairs that are registered as they are, and how many of them are made wrong in each way.
PAIRS: Mapping[str, tuple[int, int]] = {
    "AbdomenMRCT": (5, 2),
    "AbdomenMRMR": (6, 2),
    "HippocampusMR": (10, 2),
    "LungMR": (3, 1),
    "BrainMulti": (3, 1),
    "ThoraxCBCT": (3, 1),
    "BrainT1": (2, 1),
}
# Fields of view that are long enough to be moved by 150 mm.
SHIFTED = ("AbdomenMRCT", "AbdomenMRMR", "LungMR", "ThoraxCBCT")
SHIFT_MM = 150.0
# Fixed task, and the task that its moving image comes from.
OTHERS = (
    ("AbdomenMRCT", "BrainT1"),
    ("AbdomenMRCT", "ThoraxCBCT"),
    ("AbdomenMRMR", "BrainT1"),
    ("AbdomenMRMR", "LungMR"),
    ("BrainMulti", "LungMR"),
    ("BrainT1", "AbdomenMRMR"),
    ("BrainT1", "BrainMulti"),
    ("HippocampusMR", "AbdomenMRMR"),
    ("HippocampusMR", "BrainT1"),
    ("LungMR", "AbdomenMRMR"),
    ("LungMR", "BrainT1"),
    ("ThoraxCBCT", "AbdomenMRCT"),
    ("ThoraxCBCT", "LungMR"),
)
RESULTS = ROOT / "benchmarks" / "results" / "verdict.json"
GRADES = ("good", "doubtful", "failed")
CPU = torch.device("cpu")


def cases(tasks: Mapping[str, Dataset]) -> Iterator[tuple[str, int, str]]:
    """Yield task, number of the pair and what is done to it, the right ones first."""
    for task, (count, _) in PAIRS.items():
        yield from ((task, number, "right") for number in range(count))
    for task, (_, count) in PAIRS.items():
        for number in range(count):
            yield from ((task, number, f"mirrored along axis {axis}") for axis in range(3))
            yield task, number, "turned"
    for task in SHIFTED:
        yield task, 0, "moved by 150 mm"
    for task, other in OTHERS:
        yield task, 0, f"another body: {other}"


def made(tasks: Mapping[str, Dataset], task: str, number: int, kind: str) -> Case:
    """Read a pair and make it what a kind says; truth stays where a registration can still be right."""
    case = read_case(tasks[task], tasks[task].pairs("val")[number])
    images = case.images
    if kind == "right":
        return case
    if kind.startswith("moved"):
        cells = round(SHIFT_MM / images.moving.grid.spacing_mm[2])
        moving = images.moving
        mask = None if moving.mask is None else made_wrong.shifted(moving.mask, cells)
        moving = replace(moving, values=made_wrong.shifted(moving.values, cells), mask=mask)
        labels = case.labels and (case.labels[0], made_wrong.shifted(case.labels[1], cells))
        points = case.points and (case.points[0], case.points[1] + (0, 0, cells))
        return Case(replace(images, moving=moving), labels, points)
    if kind.startswith("mirrored"):
        return Case(made_wrong.mirrored(images, int(kind[-1])), None, None)
    if kind == "turned":
        return Case(made_wrong.turned(images), None, None)
    other = tasks[kind.partition(": ")[2]]
    scan = read_image_pair(other, other.pairs("val")[0]).moving
    return Case(made_wrong.another_body(images, scan), None, None)


def judged(case: Case) -> dict[str, Any]:
    """Register a case and return its verdict, and its score where there is truth."""
    result = register(case.images, load_preset("auto"), device=CPU)
    assert result.verdict is not None
    known = case.labels is not None or case.points is not None
    return {
        "score": round(score(case, result.displacement), 4) if known else None,
        "unit": "Dice" if case.labels is not None else "mm",
        **result.verdict.as_dict(),
    }


def regraded(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the grade that the limits of today give its evidence."""
    evidence = Evidence(**row["verdict_evidence"])
    likeness = None if evidence.likeness is None else round(evidence.likeness, 4)
    return row | {"likeness": likeness} | judge(evidence).as_dict()


def summary(rows: list[dict[str, Any]]) -> str:
    """Return the grades per kind as Markdown, and how well grades part right from wrong."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        kind = row["kind"].partition(":")[0]
        counts.setdefault(kind, Counter())[row["verdict"]] += 1
    lines = ["| pairs | good | doubtful | failed |", "|---|---|---|---|"]
    for kind, found in counts.items():
        lines.append(f"| {found.total()} {kind} | {' | '.join(str(found[grade]) for grade in GRADES)} |")
    return "\n".join(lines)


def area_under_curve(rows: list[dict[str, Any]]) -> float:
    """Return the probability that a right pair is graded better than a wrong one; equal grades are half."""
    scores = {
        right: np.array([GRADES.index(row["verdict"]) for row in rows if (row["kind"] == "right") == right])
        for right in (True, False)
    }
    better = scores[True][:, None] < scores[False][None, :]
    level = scores[True][:, None] == scores[False][None, :]
    return float((better + 0.5 * level).mean())


def main() -> None:
    """Judge what is missing, a line each, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = read_rows(arguments.output)
    tasks = {name: read_dataset(arguments.data / name / f"{name}_dataset.json") for name in PAIRS}
    for task, number, kind in cases(tasks):
        name = tasks[task].pairs("val")[number].case_key
        if any((row["task"], row["case"], row["kind"]) == (task, name, kind) for row in rows):
            continue
        found = judged(made(tasks, task, number, kind))
        made_by = {"commit": provenance()["commit"]}
        rows.append(regraded({"task": task, "case": name, "kind": kind, **made_by, **found}))
        print({key: value for key, value in rows[-1].items() if key != "verdict_reasons"}, flush=True)
        write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    rows = [regraded(row) for row in rows]
    write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    print(summary(rows))
    print(f"\narea under the curve, by grades: {area_under_curve(rows):.3f}")


if __name__ == "__main__":
    main()
