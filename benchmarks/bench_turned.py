"""`auto` on pairs of which one image is turned, with and without its look for a rotation.

    python benchmarks/bench_turned.py --data ../shared/data [--output FILE]

The moving image of the first pair of each task is turned by 20 degrees about a slanting axis through its
centre and shifted by 14 mm, on its own grid. The field that is found is led back through the known map, so
that the pair's own labels and landmarks score it. Rows that are there already are kept.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from common import ROOT, provenance, write_json
from dinoreg.linear.move import then_map
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import Scan
from dinoreg.settings.load import load_preset
from image_pairs import read_image_pair
from pair_rows import Row, read_rows
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset, read_dataset
from regtask.pair import Pair

TASKS = ("HippocampusMR", "ThoraxCBCT", "AbdomenMRMR", "BrainT1")
TITLES = {"straight": "`auto` without rotations", "auto": "`auto`"}
RESULTS = ROOT / "benchmarks" / "results" / "turned.json"
_AXIS, _DEGREES, _SHIFT_MM = (0.5, -0.5, 0.7071), 20.0, (9.0, -8.0, 7.0)


def turned(scan: Scan) -> tuple[Scan, NDArray[np.float64]]:
    """Return a scan whose content is turned on its grid, and the map of its voxels, (4, 4)."""
    shape, mm = np.array(scan.values.shape), np.array(scan.grid.spacing_mm)
    rotation = Rotation.from_rotvec(np.radians(_DEGREES) * np.array(_AXIS)).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * mm / mm[:, None]
    centre = (shape - 1) / 2
    # A head of 60 mm is shifted by less than a body.
    shift = np.array(_SHIFT_MM) * min(1.0, float((shape * mm).min()) / 150)
    matrix[:3, 3] = centre + shift / mm - matrix[:3, :3] @ centre
    back = np.linalg.inv(matrix)
    values = ndimage.affine_transform(scan.values, back, order=1, cval=float(scan.values.min()))
    mask = None
    if scan.mask is not None:
        mask = ndimage.affine_transform(scan.mask.astype(np.float32), back, order=1) > 0.5
    return replace(scan, values=values.astype(np.float32), mask=mask), matrix


def measure(dataset: Dataset, pair: Pair, method: str) -> Row:
    """Register the turned pair and score the field as one of the pair as it is."""
    images = read_image_pair(dataset, pair)
    moving, matrix = turned(images.moving)
    config = load_preset("auto")
    if method == "straight":
        config = config.model_copy(update={"linear": None})
    found = register(replace(images, moving=moving), config, device=torch.device("cpu"))
    vectors = torch.from_numpy(np.moveaxis(found.displacement, -1, 0).copy())
    straight = then_map(vectors, np.linalg.inv(matrix)).movedim(0, -1).contiguous().numpy()
    scores = score_case(pair, straight)
    seconds: dict[str, float] = {}
    for stage in found.stages:
        seconds[stage.name] = round(seconds.get(stage.name, 0.0) + stage.seconds, 4)
    row = {"task": dataset.name, "case": pair.case_key, "method": method, "dice": scores.dice}
    row |= {"tre_mm": scores.tre_mm, "turned": found.linear is not None, "stage_seconds": seconds}
    row |= {"verdict": None if found.verdict is None else found.verdict.grade}
    return row | {"commit": provenance()["commit"]}


def table(rows: list[Row]) -> str:
    """Return both scores of each pair as Markdown."""
    lines = [f"| turned pair | {' | '.join(TITLES.values())} |", "|---" * (1 + len(TITLES)) + "|"]
    for task in TASKS:
        of_task = {row["method"]: row for row in rows if row["task"] == task}
        if len(of_task) < len(TITLES):
            continue
        cells = [
            f"{row['tre_mm']:.2f} mm" if row["dice"] is None else f"{row['dice']:.3f}"
            for row in (of_task[method] for method in TITLES)
        ]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = read_rows(options.output)
    for task in TASKS:
        dataset = read_dataset(options.data / task / f"{task}_dataset.json")
        pair = dataset.pairs("val")[0]
        for method in TITLES:
            if not any((row["task"], row["method"]) == (task, method) for row in rows):
                rows.append(measure(dataset, pair, method))
                print(rows[-1], flush=True)
                write_json(options.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
