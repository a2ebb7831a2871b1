"""Time and memory of evaluating one pair of 256 x 192 x 192 voxels with 13 labels, all metrics.

    python benchmarks/bench_evaluation.py

One process per repetition, from files to written metrics, on all cores: Dice, HD95 in voxels and mm, TRE of
100 landmarks, Jacobian determinants and digital folds, masked and not, and the same of the identity. The
pair is synthetic: 13 ellipsoids, and a random field, smooth over 16 voxels, with folds. The official script
takes 50 s and 3.1 GB for Dice, HD95, sdLogJ and TRE of such a pair on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from common import ROOT, provenance, run_process, write_json
from regtask import Grid, write_field, write_landmarks, write_volume

SHAPE = (256, 192, 192)
SPACING_MM = (1.5, 1.25, 2.0)
LABELS = 13
LANDMARKS = 100
SHIFT = (3, -5, 7)
MODES = ("l2r", "strict")


def main() -> None:
    """Measure both modes and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/evaluation.json")
    options = parser.parse_args()
    results = {"provenance": provenance(), "shape": SHAPE, "labels": LABELS, "rows": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = make_task(folder)
        for mode in MODES:
            command = [sys.executable, "-m", "regeval", "evaluate", "--config", str(config), "--mode", mode]
            command += ["--predictions", str(folder / "fields"), "--output", str(folder / "metrics.json")]
            costs = [run_process(command, folder / "log.txt") for _ in range(options.repetitions)]
            row = {
                "mode": mode,
                "seconds": [round(cost.seconds, 2) for cost in costs],
                "seconds_median": round(statistics.median(cost.seconds for cost in costs), 2),
                "cpu_seconds_median": round(statistics.median(cost.cpu_seconds for cost in costs), 2),
                "peak_memory_mib": round(max(cost.peak_memory_mib for cost in costs)),
            }
            results["rows"].append(row)
            print(row, flush=True)
    write_json(options.output, results)
    print(table(results["rows"]))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the medians per mode as Markdown."""
    lines = ["| mode | seconds | processor seconds | peak MiB |", "|---|---|---|---|"]
    lines += [
        f"| `{row['mode']}` | {row['seconds_median']:.1f} | {row['cpu_seconds_median']:.1f} |"
        f" {row['peak_memory_mib']} |"
        for row in rows
    ]
    return "\n".join(lines)


def make_task(folder: Path) -> Path:
    """Write images, labels, landmarks, a mask, a field and the configuration; return the latter."""
    rng = np.random.default_rng(3)
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
    for kind in ("images", "labels", "masks", "landmarks"):
        (folder / f"{kind}Tr").mkdir()
    fixed = _ellipsoids(rng)
    points = rng.uniform(10, 180, (LANDMARKS, 3))
    for modality, shift in (("0000", (0, 0, 0)), ("0001", SHIFT)):
        labels = np.roll(fixed, shift, (0, 1, 2))
        for kind in ("images", "labels"):
            write_volume(folder / f"{kind}Tr/Bench_0001_{modality}.nii.gz", labels, grid, np.int16)
        write_landmarks(folder / f"landmarksTr/Bench_0001_{modality}.csv", points + shift)
    mask = np.pad(np.ones([size - 20 for size in SHAPE], np.uint8), 10)
    write_volume(folder / "masksTr/Bench_0001_0000.nii.gz", mask, grid, np.uint8)
    (folder / "fields").mkdir()
    write_field(folder / "fields/disp_0001_0001.nii.gz", _smooth_field(rng), grid)
    numbers = list(range(1, LABELS + 1))
    content = {
        "task_name": "Bench",
        "evaluation_methods": [
            {"name": "LogJacDetStd", "metric": "sdlogj"},
            {"name": "DSC", "metric": "dice", "labels": numbers},
            {"name": "HD95", "metric": "hd95", "labels": numbers},
            {"name": "TRE_lm", "metric": "tre", "dest": "landmarks"},
        ],
        "expected_shape": [*SHAPE, 3],
        "masked_evaluation": True,
        "eval_pairs": [
            {"fixed": "./imagesTr/Bench_0001_0000.nii.gz", "moving": "./imagesTr/Bench_0001_0001.nii.gz"}
        ],
    }
    path = folder / "evaluation_config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _ellipsoids(rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros(SHAPE, np.int16)
    indices = np.ogrid[tuple(slice(size) for size in SHAPE)]
    for label in range(1, LABELS + 1):
        centre, radii = rng.uniform(0.25, 0.75, 3) * SHAPE, rng.uniform(12, 45, 3)
        distance = sum(((i - c) / r) ** 2 for i, c, r in zip(indices, centre, radii, strict=True))
        labels[distance < 1] = label
    return labels


def _smooth_field(rng: np.random.Generator) -> np.ndarray:
    components = []
    for _ in range(3):
        coarse = rng.normal(size=[size // 16 + 1 for size in SHAPE])
        component = ndimage.zoom(coarse, 16, order=3)[tuple(slice(size) for size in SHAPE)]
        components.append(4 * component.astype(np.float32))
    return np.stack(components, axis=-1)


if __name__ == "__main__":
    main()
