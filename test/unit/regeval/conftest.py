"""A small task on an awkward grid: non-cubic, anisotropic, moved by an asymmetric shift."""

import json
from pathlib import Path

import numpy as np
import pytest

from regtask import Grid, write_landmarks, write_volume

SHAPE = (26, 30, 34)
SPACING_MM = (2.0, 0.5, 1.25)
SHIFT = (3, -5, 7)


@pytest.fixture
def fixed_labels() -> np.ndarray:
    """Two boxes and a single voxel, all far enough from the border to survive the shift."""
    labels = np.zeros(SHAPE, np.int16)
    labels[8:14, 10:20, 9:16] = 1
    labels[15:18, 12:15, 10:20] = 2
    labels[6, 12, 15] = 7
    return labels


@pytest.fixture
def moving_labels(fixed_labels) -> np.ndarray:
    """moving(x + SHIFT) = fixed(x): the content lies SHIFT further."""
    return np.roll(fixed_labels, SHIFT, (0, 1, 2))


@pytest.fixture
def shift_field() -> np.ndarray:
    return np.broadcast_to(np.float32(SHIFT), (*SHAPE, 3)).copy()


@pytest.fixture
def smooth_field() -> np.ndarray:
    """Sums of sines of other period and size in each component; no folds."""
    i, j, k = np.indices(SHAPE) / 6
    components = (
        1.5 * np.sin(j) + 0.6 * np.cos(k + i),
        -1.1 * np.cos(i) + 0.9 * np.sin(k),
        0.8 * np.sin(i + j) - 0.4 * k,
    )
    return np.stack(components, -1).astype(np.float32)


@pytest.fixture
def task(tmp_path, fixed_labels, moving_labels) -> Path:
    """A task of two pairs on disk; returns the dataset JSON.

    0001 has labels, landmarks and a mask, 0002 has images only. Label 9 is in the moving image only.
    """
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
    for kind in ("images", "labels", "masks", "landmarks"):
        (tmp_path / f"{kind}Tr").mkdir()
    with_extra = moving_labels.copy()
    with_extra[0, 0, 0] = 9
    for subject in ("0001", "0002"):
        for modality in ("0000", "0001"):
            write_volume(tmp_path / f"imagesTr/Knee_{subject}_{modality}.nii.gz", np.zeros(SHAPE), grid)
    write_volume(tmp_path / "labelsTr/Knee_0001_0000.nii.gz", fixed_labels, grid, np.int16)
    write_volume(tmp_path / "labelsTr/Knee_0001_0001.nii.gz", with_extra, grid, np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:-4, 4:-4, 4:-4] = 1
    write_volume(tmp_path / "masksTr/Knee_0001_0000.nii.gz", mask, grid, np.uint8)
    points = np.array([[10.0, 12.0, 9.5], [8.0, 20.5, 15.0]])
    write_landmarks(tmp_path / "landmarksTr/Knee_0001_0000.csv", points)
    write_landmarks(tmp_path / "landmarksTr/Knee_0001_0001.csv", points + SHIFT)
    pairs = [
        {"fixed": f"./imagesTr/Knee_{s}_0000.nii.gz", "moving": f"./imagesTr/Knee_{s}_0001.nii.gz"}
        for s in ("0001", "0002")
    ]
    path = tmp_path / "Knee_dataset.json"
    path.write_text(json.dumps({"name": "Knee", "registration_val": pairs}), encoding="utf-8")
    return path
