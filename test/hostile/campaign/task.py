"""The sound task that every case breaks: one pair with all that belongs to it, its field and its scores."""

import json
import shutil
from pathlib import Path

import numpy as np

from campaign.builders import SHAPE
from regtask import Grid, write_field, write_landmarks, write_volume

NAMES = ("Knee_0001_0000", "Knee_0001_0001")
FIELD = "disp_0001_0000_0001_0001.nii.gz"
PAIR = {"fixed": f"./imagesTr/{NAMES[0]}.nii.gz", "moving": f"./imagesTr/{NAMES[1]}.nii.gz"}
DESCRIPTION = {
    "name": "Knee",
    "modality": {"0": "MR", "1": "MR"},
    "labels": {"0": {"0": "background", "1": "bone"}},
    "registration_val": [PAIR],
}
CONFIG = {
    "task_name": "Knee",
    "evaluation_methods": [
        {"name": "LogJacDetStd", "metric": "sdlogj"},
        {"name": "DSC", "metric": "dice", "labels": [1]},
        {"name": "TRE", "metric": "tre", "dest": "landmarks"},
    ],
    "expected_shape": [*SHAPE, 3],
    "eval_pairs": [PAIR],
}
METRICS = {
    "name": "Knee",
    "mode": "strict",
    "cases": {f"{n:04}_0000<--{n:04}_0001": {"DSC": {"mean": 0.5 + n / 10, "detailed": []}} for n in (1, 2)},
    "metrics": {"DSC": {"name": "DSC", "metric": "dice", "labels": [1]}},
}
JOB = [
    {"socket": {"slug": f"{role}-mr", "relative_path": f"images/{role}-mr"}, "image": {"name": f"{role}.mha"}}
    for role in ("fixed", "moving")
]


def write_task(folder: Path) -> None:
    """Write the task, with a description, a configuration, a submission and two metrics files."""
    grid = Grid(SHAPE, np.diag((2.0, 2.0, 3.0, 1.0)))
    rng = np.random.default_rng(0)
    for kind in ("imagesTr", "labelsTr", "masksTr", "landmarksTr", "fields"):
        (folder / kind).mkdir(parents=True)
    for name in NAMES:
        values = rng.uniform(0, 500, SHAPE).astype(np.float32)
        write_volume(folder / f"imagesTr/{name}.nii.gz", values, grid)
        write_volume(folder / f"labelsTr/{name}.nii.gz", values > 200, grid, np.uint8)
        write_volume(folder / f"masksTr/{name}.nii.gz", np.ones(SHAPE), grid, np.uint8)
        write_landmarks(folder / f"landmarksTr/{name}.csv", [[5.0, 4.0, 3.0], [6.0, 5.0, 4.0]])
    write_field(folder / "fields" / FIELD, np.zeros((*SHAPE, 3)), grid)
    for name, content in (("Knee_dataset", DESCRIPTION), ("config", CONFIG), ("a", METRICS), ("b", METRICS)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def copy_task(template: Path, folder: Path) -> None:
    """Copy the sound task to where one case may break it."""
    shutil.copytree(template, folder / "task")
