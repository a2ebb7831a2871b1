"""Wall seconds of one pair by one preset, from the command to the written field, on all cores, by stage.

    python benchmarks/bench_wall.py --data ../shared/data [--preset auto] [--tasks ...] [--output FILE]

The first pair of each task, in a process of its own, after one that compiles what is not compiled yet; of
`--repeats` runs the quickest. To be run on a machine that does nothing else: the load before is written down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from common import ROOT, provenance, write_json
from pair_rows import measure_preset
from regtask.dataset import read_dataset
from regtask.images import read_volume
from stored_otherwise import preset_parser

TASKS = ("AbdomenMRCT", "AbdomenMRMR", "BrainT1", "HippocampusMR", "LungMR", "BrainMulti", "ThoraxCBCT")
RESULTS = ROOT / "benchmarks" / "results" / "wall.json"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the seconds as Markdown, a row per task and a column per stage."""
    stages = list(dict.fromkeys(stage for row in rows for stage in row["stage_seconds"]))
    names = [stage.removeprefix("start: ") for stage in stages]
    lines = [f"| task | voxels | all | {' | '.join(names)} | the rest |", "|---" * (len(stages) + 4) + "|"]
    for row in rows:
        spent = row["stage_seconds"]
        each = [f"{spent[stage]:.1f}" if stage in spent else "" for stage in stages]
        rest = row["seconds"] - sum(spent.values())
        size = " x ".join(map(str, row["shape"]))
        lines.append(f"| {row['task']} | {size} | {row['seconds']:.1f} | {' | '.join(each)} | {rest:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all, write the rows, print the table."""
    parser = preset_parser(__doc__, TASKS, RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)  # as a user's shell has it
    rows: list[dict[str, Any]] = []
    before = provenance()
    for task in options.tasks:
        dataset = read_dataset(options.data / task / f"{task}_dataset.json")
        pair = dataset.pairs()[0]
        runs = [
            measure_preset(dataset, pair, options.preset, device="cpu")
            for _ in range(options.repeats + (not rows))
        ]
        quickest = min(runs, key=lambda row: row["seconds"])
        kept = ("task", "case", "method", "seconds", "cpu_seconds", "peak_memory_mib", "stage_seconds")
        rows.append({key: quickest[key] for key in kept})
        rows[-1]["shape"] = read_volume(pair.fixed).grid.shape
        write_json(options.output, {"provenance": before, "repeats": options.repeats, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
