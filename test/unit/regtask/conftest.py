"""A grid on which no mistake hides: non-cubic, anisotropic, oblique, off-centre; and files that lie."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from campaign.builders import nifti, packed

from regtask import Grid, write_volume

HeaderWriter = Callable[..., Path]


@pytest.fixture(scope="session")
def grid() -> Grid:
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ tilt @ np.diag([-1.5, 2.25, 3.0])
    affine[:3, 3] = (-31.0, 12.5, 104.0)
    return Grid((5, 7, 4), affine)


@pytest.fixture(scope="session")
def values(grid: Grid) -> np.ndarray:
    """Every voxel has its own value, so any mix-up of axes shows."""
    return np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape) - 3.5


@pytest.fixture
def raw_nifti(tmp_path: Path) -> HeaderWriter:
    """Write a NIfTI-1 file byte by byte, with any field of the header set to anything."""

    def write(
        name: str = "x.nii",
        *,
        data: bytes | None = None,
        order: str = "<",
        pack: bool | None = None,
        **fields,
    ) -> Path:
        voxels = np.arange(24, dtype=np.int16).reshape((2, 3, 4), order="F")
        placed = {"pixdim": (1, 2, 3, 4, 0, 0, 0, 0), "srow": (2, 0, 0, -5, 0, 3, 0, 6, 0, 0, 4, 7)}
        content = nifti(voxels, data=data, order=order, **(placed | fields))
        pack = name.endswith(".gz") if pack is None else pack
        path = tmp_path / name
        path.write_bytes(packed(content) if pack else content)
        return path

    return write


@pytest.fixture
def task(tmp_path: Path, grid: Grid, values: np.ndarray) -> Path:
    """A sound task of one subject in two modalities, with labels and masks; returns its folder."""
    folder = tmp_path / "Torso"
    for kind in ("imagesTr", "labelsTr", "masksTr"):
        (folder / kind).mkdir(parents=True)
    for modality in ("0000", "0001"):
        name = f"Torso_0001_{modality}.nii.gz"
        write_volume(folder / "imagesTr" / name, values, grid)
        write_volume(folder / "labelsTr" / name, values > 2, grid, np.uint8)
        write_volume(folder / "masksTr" / name, values > 0, grid, np.uint8)
    return folder


@pytest.fixture
def description(tmp_path: Path) -> Callable[..., Path]:
    """Write a dataset description."""

    def write(content: Mapping[str, object], name: str = "Torso_dataset.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write
