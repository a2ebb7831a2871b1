"""A grid on which no mistake hides: non-cubic, anisotropic, oblique, off-centre; and files that lie."""

import gzip
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

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
    offsets = {
        "sizeof_hdr": (0, "i"),
        "dim": (40, "8h"),
        "datatype": (70, "h"),
        "bitpix": (72, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "scl_slope": (112, "f"),
        "scl_inter": (116, "f"),
        "qform_code": (252, "h"),
        "sform_code": (254, "h"),
        "quaternion": (256, "3f"),
        "srow": (280, "12f"),
    }
    sound = {
        "sizeof_hdr": 348,
        "dim": (3, 2, 3, 4, 1, 1, 1, 1),
        "datatype": 4,
        "bitpix": 16,
        "pixdim": (1, 2, 3, 4, 0, 0, 0, 0),
        "vox_offset": 352,
        "scl_slope": 1,
        "sform_code": 1,
        "srow": (2, 0, 0, -5, 0, 3, 0, 6, 0, 0, 4, 7),
    }

    def write(
        name: str = "x.nii",
        *,
        data: bytes | None = None,
        order: str = "<",
        pack: bool | None = None,
        **fields,
    ) -> Path:
        header = bytearray(352)
        for key, value in (sound | fields).items():
            offset, form = offsets[key]
            struct.pack_into(order + form, header, offset, *(value if isinstance(value, tuple) else (value,)))
        header[344:348] = b"n+1\0"
        voxels = np.arange(24, dtype=f"{order}i2").tobytes() if data is None else data
        content = bytes(header) + voxels
        packed = name.endswith(".gz") if pack is None else pack
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
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
