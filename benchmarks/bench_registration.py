"""`auto` beside our other presets, ANTs, elastix and the package convexAdam, pair by pair, in turn.

    python benchmarks/bench_registration.py --data ../shared/data --peers PEERS/bin/python
        [--methods ...] [--tasks ...]

One process per pair and method, from files to the written field, one thread each; the methods take turns on
each pair. The fields are scored by `regeval`. The task `Phantom` is written on the fly. Results are kept in a
JSON after every process, and a run that was interrupted goes on where it stopped. registration_peers.py says
what the peers need and do.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, provenance, write_json
from dinoreg.phantom import write_phantom_task
from pair_rows import Row, find_row, format_table, in_order, measure_command, measure_preset
from regtask.dataset import Dataset, read_dataset
from regtask.pair import Pair

TASKS = (
    "AbdomenMRCT",
    "AbdomenMRMR",
    "BrainT1",
    "HippocampusMR",
    "LungMR",
    "BrainMulti",
    "ThoraxCBCT",
    "Phantom",
)
PEERS = ("package", "syn", "elastix")
PRESETS = ("identity", "convexadam", "ssd", "mind", "mind+intensity", "auto")
METHODS = ("identity", *PEERS, *PRESETS[1:])
RESULTS = ROOT / "benchmarks" / "results" / "registration.json"
# Of the processes that are measured: torch, ITK.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


def main() -> None:
    """Measure what is missing in the results file, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--pairs", type=int, help="only the first so many pairs of each task")
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="METHOD", help="presets or peers")
    parser.add_argument("--peers", metavar="PYTHON", help="Python that has the peers; without it, ours only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--table-only", action="store_true", help="print the table of what is there")
    options = parser.parse_args()

    results = {"provenance": provenance(), "rows": []}
    if options.output.is_file():
        results = json.loads(options.output.read_text(encoding="utf-8"))
    if not options.table_only:
        os.environ |= _ONE_THREAD
        methods = [method for method in options.methods if options.peers or method not in PEERS]
        with tempfile.TemporaryDirectory() as folder:
            for task in options.tasks:
                dataset = _read(task, options.data, Path(folder))
                for pair in dataset.pairs()[: options.pairs]:
                    for method in methods:
                        if not find_row(results["rows"], task, pair, method):
                            results["rows"].append(_measure(dataset, pair, method, options))
                            write_json(options.output, results)
    print(table(results["rows"]))


def table(rows: Sequence[Row]) -> str:
    """Return the means per task and method as Markdown."""
    return format_table(in_order(rows, TASKS, METHODS))


def _read(task: str, data: Path, folder: Path) -> Dataset:
    if task == "Phantom":
        return read_dataset(write_phantom_task(folder / task))
    return read_dataset(data / task / f"{task}_dataset.json")


def _measure(dataset: Dataset, pair: Pair, method: str, options: argparse.Namespace) -> Row:
    if method not in PEERS:
        return measure_preset(dataset, pair, method, device=options.device)
    command = (options.peers, str(ROOT / "benchmarks" / "registration_peers.py"), method)
    images = (str(pair.fixed), str(pair.moving))
    return measure_command(dataset, pair, method, lambda _, field: [*command, *images, str(field)])


if __name__ == "__main__":
    main()
