"""Accuracy, folds, time and memory of our presets and of the package convexAdam, pair by pair, in turn.

    python benchmarks/bench_registration.py --data ../shared/data --package-python /path/to/venv/bin/python

One process per pair and method, from files to the written field, on all cores; the methods take turns on each
pair. The fields are scored by `regeval`. Results are kept in a JSON after every process, and a run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, provenance, write_json
from pair_rows import Row, find_row, format_table, in_order, measure_command, measure_preset
from regtask.dataset import Dataset, read_dataset
from regtask.pair import Pair

TASKS = ("HippocampusMR", "AbdomenMRMR", "AbdomenMRCT", "BrainT1")
PACKAGE = "package"
PRESETS = ("identity", "start-only", "convexadam", "mind")
# In the table.
METHODS = ("identity", "start-only", PACKAGE, "convexadam", "mind")


def main() -> None:
    """Measure what is missing in the results file, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--pairs", type=int, help="only the first so many pairs of each task")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
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
                    if not find_row(results["rows"], task, pair, method):
                        results["rows"].append(_measure(dataset, pair, method, options))
                        write_json(options.output, results)
    print(table(results["rows"]))


def table(rows: Sequence[Row]) -> str:
    """Return the means per task and method as Markdown."""
    return format_table(in_order(rows, TASKS, METHODS))


def _measure(dataset: Dataset, pair: Pair, method: str, options: argparse.Namespace) -> Row:
    if method != PACKAGE:
        return measure_preset(dataset, pair, method, device=options.device)
    script = str(ROOT / "benchmarks/run_convexadam_package.py")
    command = (options.package_python, script, str(pair.fixed), str(pair.moving))
    return measure_command(dataset, pair, method, lambda _, field: [*command, str(field)])


if __name__ == "__main__":
    main()
