"""Presets over the tasks of real scans: Dice or landmark error, folds, smoothness and verdict of every pair.

    python benchmarks/bench_auto.py --data ../shared/data [--presets auto mind] [--tasks ...] [--output FILE]

One process per pair, from files to the written field. Rows that are there already are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from common import ROOT, provenance, run_process, write_json
from pair_rows import Row, description_of, find_row, group_rows, in_order
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset, read_dataset
from regtask.fields import read_field
from regtask.names import field_name_long
from regtask.pair import Pair

TASKS = (
    "AbdomenMRCT",
    "AbdomenMRMR",
    "BrainT1",
    "HippocampusMR",
    "LungMR",
    "BrainMulti",
    "ThoraxCBCT",
)
PRESETS = ("auto", "mind")
RESULTS = ROOT / "benchmarks" / "results" / "auto.json"


def measure(dataset: Dataset, pair: Pair, preset: str) -> Row:
    """Register one pair in a process of its own and score what it wrote."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "dinoreg.cli.main", "run", "--dataset", str(description_of(dataset))]
        command += ["--pairs", pair.case_key, "--output", name, "--preset", preset]
        cost = run_process(command, folder / "log.txt")
        scores = score_case(pair, read_field(folder / field_name_long(pair.fixed_id, pair.moving_id)))
        (entry,) = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["pairs"].values()
    row = {"task": dataset.name, "case": pair.case_key, "method": preset, **asdict(scores), **asdict(cost)}
    row["dice_per_label"] = {str(label): value for label, value in scores.dice_per_label.items()}
    row |= {key: entry[key] for key in ("verdict", "verdict_evidence") if key in entry}
    row["commit"] = provenance()["commit"]
    return row


def table(rows: list[Row]) -> str:
    """Return the means per task and preset as Markdown."""
    lines = [
        "| task | preset | pairs | Dice or TRE | per pair | folds % | sdLogJ | good / doubtful / failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (task, preset), group in group_rows(in_order(rows, TASKS, PRESETS)).items():
        by_label = group[0]["dice"] is not None
        values = [r["dice"] if by_label else r["tre_mm"] for r in group]
        mean, each = statistics.fmean(values), " ".join(f"{v:.2f}" for v in values)
        unit = "" if by_label else " mm"
        folds = statistics.fmean(r["folding_percent"] for r in group)
        smooth = statistics.fmean(r["sd_log_jacobian"] for r in group)
        grades = [sum(r.get("verdict") == g for r in group) for g in ("good", "doubtful", "failed")]
        lines.append(
            f"| {task} | {preset} | {len(group)} | {mean:.3f}{unit} | {each} | {folds:.3f} | {smooth:.3f} |"
            f" {' / '.join(map(str, grades))} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows: list[Row] = json.loads(arguments.output.read_text())["rows"] if arguments.output.is_file() else []
    for task in arguments.tasks:
        dataset = read_dataset(arguments.data / task / f"{task}_dataset.json")
        for preset in arguments.presets:
            for pair in dataset.pairs("val"):
                if find_row(rows, task, pair, preset) is None:
                    rows.append(measure(dataset, pair, preset))
                    write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
