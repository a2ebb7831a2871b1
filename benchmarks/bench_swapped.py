"""Fixed and moving change places: are the two fields inverse to each other, and is either as accurate?

    python benchmarks/bench_swapped.py --data ../shared/data [--preset auto] [--tasks ...] [--output FILE]

Rows that are there already are kept. The distance is how far from where it began a voxel of fixed ends that
goes there by one field and back by the other: the median over the foreground, in mm.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from common import ROOT, provenance, write_json
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair
from dinoreg.preprocess.prepare import prepare_scan
from dinoreg.settings.load import load_preset
from pair_rows import Row, read_rows
from regtask.dataset import read_dataset
from stored_otherwise import Case, preset_parser, read_case, score

TASKS = ("BrainMulti", "ThoraxCBCT", "HippocampusMR", "LungMR", "AbdomenMRMR", "AbdomenMRCT")
RESULTS = ROOT / "benchmarks" / "results" / "swapped.json"
EVERY = 7  # voxel of the foreground is followed


def swap(case: Case) -> Case:
    """Let fixed and moving change places; moving is given the grid of fixed, to which it is joined."""
    fixed, moving = case.images.fixed, case.images.moving
    images = ImagePair(replace(moving, grid=fixed.grid), fixed)
    return Case(images, case.labels and case.labels[::-1], case.points and case.points[::-1])


def distances_mm(
    there: NDArray[np.float32],
    back: NDArray[np.float32],
    where: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
) -> NDArray[np.float64]:
    """Return how far from where they began voxels end that go there and back; those that leave are left out.

    Args:
        there: (I, J, K, 3) voxels, pull.
        back: likewise, with fixed and moving swapped.
        where: (I, J, K), the voxels to follow.
        spacing_mm: of the voxels.
    """
    begun = np.argwhere(where)[::EVERY]
    arrived = begun + there[tuple(begun.T)]
    inside = ((arrived >= 0) & (arrived <= np.array(where.shape) - 1)).all(axis=1)
    begun, arrived = begun[inside], arrived[inside]
    steps = [ndimage.map_coordinates(back[..., axis], arrived.T, order=1) for axis in range(3)]
    return np.linalg.norm((arrived + np.stack(steps, axis=-1) - begun) * spacing_mm, axis=1)


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown, one line per task, means over its pairs."""
    lines = [
        "| task | pairs | as listed | swapped | there and back, median | 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        found = [row for row in rows if row["task"] == task]
        mean = {
            k: statistics.fmean(row[k] for row in found) for k in ("there", "back", "median_mm", "p95_mm")
        }
        form = "{:.3f}" if found[0]["unit"] == "Dice" else "{:.2f} mm"
        cells = [form.format(mean["there"]), form.format(mean["back"])]
        cells += [f"{mean['median_mm']:.2f} mm", f"{mean['p95_mm']:.1f} mm"]
        lines.append(f"| {task} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = preset_parser(__doc__, TASKS, RESULTS)
    parser.add_argument("--pairs", type=int, default=3, help="of each task")
    arguments = parser.parse_args()
    rows = read_rows(arguments.output)
    config = load_preset(arguments.preset)
    for task in arguments.tasks:
        dataset = read_dataset(arguments.data / task / f"{task}_dataset.json")
        for pair in dataset.pairs("val")[: arguments.pairs]:
            if any((row["task"], row["case"]) == (task, pair.case_key) for row in rows):
                continue
            case = read_case(dataset, pair)
            both = case, swap(case)
            there, back = (register(one.images, config, device=torch.device("cpu")) for one in both)
            body = prepare_scan(case.images.fixed, config.preprocess).foreground
            errors = distances_mm(
                there.displacement, back.displacement, body, case.images.fixed.grid.spacing_mm
            )
            row: Row = {"task": task, "case": pair.case_key, "unit": case.unit}
            row |= {"there": round(score(case, there.displacement), 4)}
            row |= {"back": round(score(both[1], back.displacement), 4)}
            row |= {"median_mm": round(float(np.median(errors)), 3)}
            row |= {"p95_mm": round(float(np.percentile(errors, 95)), 3)}
            rows.append(row)
            print(row, flush=True)
            write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
