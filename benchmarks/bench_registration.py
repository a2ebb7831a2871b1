"""Accuracy, folds, time and memory of our presets and of the package convexAdam, pair by pair, in turn.

    python benchmarks/bench_registration.py --data ../shared/data --package-python /path/to/venv/bin/python

One process per pair and method, from files to the written field, on all cores; the methods take turns on each
pair. The fields are scored by `regeval`. Results are kept in a JSON after every process, and a run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import ROOT, provenance, run_process, write_json
from regeval.scores import score_case
from regtask.dataset import Dataset, read_dataset
from regtask.fields import read_field
from regtask.names import field_name_long
from regtask.pair import Pair

TASKS = ("HippocampusMR", "AbdomenMRMR", "AbdomenMRCT", "BrainT1")
PACKAGE = "package"
COLUMNS = ("dice", "hd95_mm", "folding_percent", "sd_log_jacobian", "seconds", "peak_memory_mib")


def main() -> None:
    """Measure what is missing in the results file, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--pairs", type=int, help="only the first so many pairs of each task")
    parser.add_argument("--presets", nargs="+", default=("identity", "start-only", "convexadam", "mind"))
    parser.add_argument("--package-python", help="Python that has convexAdam==0.2.0; without it, ours only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/registration.json")
    parser.add_argument("--table-only", action="store_true", help="print the table of what is there")
    options = parser.parse_args()

    results = {"provenance": provenance(), "rows": []}
    if options.output.is_file():
        results = json.loads(options.output.read_text(encoding="utf-8"))
    if not options.table_only:
        methods = [*([PACKAGE] if options.package_python else []), *options.presets]
        for task in options.tasks:
            dataset = read_dataset(options.data / task / f"{task}_dataset.json")
            for pair in dataset.pairs()[: options.pairs]:
                for method in methods:
                    if not _find(results["rows"], task, pair, method):
                        results["rows"].append(_measure(dataset, pair, method, options))
                        write_json(options.output, results)
    print(format_table(results["rows"]))


def _find(rows: list[dict[str, Any]], task: str, pair: Pair, method: str) -> bool:
    return any((r["task"], r["case"], r["method"]) == (task, pair.case_key, method) for r in rows)


def _measure(dataset: Dataset, pair: Pair, method: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        field = folder / field_name_long(pair.fixed_id, pair.moving_id)
        if method == PACKAGE:
            script = str(ROOT / "benchmarks/run_convexadam_package.py")
            command = [options.package_python, script, str(pair.fixed), str(pair.moving), str(field)]
        else:
            description = folder / f"{dataset.name}_dataset.json"
            description.write_text(json.dumps(_only(dataset, pair)), encoding="utf-8")
            command = [sys.executable, "-m", "dinoreg.cli.main", "run", "--dataset", str(description)]
            command += ["--data-dir", str(dataset.root), "--output", str(folder), "--preset", method]
            command += ["--split", "val", "--device", options.device]
        cost = run_process(command, folder / "log.txt")
        scores = score_case(pair, read_field(field))
        stages = _stage_seconds(folder / "manifest.json")
    row = {"task": dataset.name, "case": pair.case_key, "method": method, **asdict(scores), **asdict(cost)}
    row["dice_per_label"] = {str(label): value for label, value in scores.dice_per_label.items()}
    row["stage_seconds"] = stages
    row["commit"] = provenance()["commit"]
    print(
        f"{dataset.name} {pair.case_key} {method}: Dice {scores.dice:.3f}, {cost.seconds:.1f} s", flush=True
    )
    return row


def _only(dataset: Dataset, pair: Pair) -> dict[str, Any]:
    paths = {role: f"./{getattr(pair, role).relative_to(dataset.root)}" for role in ("fixed", "moving")}
    return {**dataset.raw, "registration_val": [paths]}


def _stage_seconds(manifest: Path) -> dict[str, float]:
    if not manifest.is_file():
        return {}
    (entry,) = json.loads(manifest.read_text(encoding="utf-8"))["pairs"].values()
    seconds: dict[str, float] = {}
    for stage in entry["stages"]:
        seconds[stage["name"]] = seconds.get(stage["name"], 0.0) + stage["seconds"]
    return seconds


def format_table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: one line per task and method, means over the pairs."""
    lines = [
        "| task | method | pairs | Dice | per pair | HD95 mm | folds % | sdLogJ | s / pair | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["method"]), []).append(row)
    for (task, method), group in groups.items():
        mean = {key: statistics.fmean(r[key] for r in group) for key in COLUMNS}
        each = " ".join(f"{r['dice']:.2f}".lstrip("0") for r in group)
        peak = max(r["peak_memory_mib"] for r in group)
        lines.append(
            f"| {task} | {method} | {len(group)} | {mean['dice']:.3f} | {each} | {mean['hd95_mm']:.1f} |"
            f" {mean['folding_percent']:.3f} | {mean['sd_log_jacobian']:.3f} | {mean['seconds']:.1f} |"
            f" {peak:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
