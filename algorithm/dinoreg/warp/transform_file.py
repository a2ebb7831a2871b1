"""Which transform a field file holds: what its format and its note say, and what has to be said beside it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from dinoreg.errors import ConfigError
from dinoreg.space.transform import Transform
from dinoreg.warp.image_file import header_of
from regtask.errors import DataError, Fault
from regtask.fields import read_field, read_field_grids
from regtask.grid import Grid
from regtask.metaimage import read_field_mha
from regtask.physical import lps_to_voxels

log = logging.getLogger(__name__)


def read_transform(
    path: Path, *, registered: Path | None = None, learn2reg: bool = False, indices_only: bool = False
) -> Transform:
    """Read a field and settle how the voxels it leads to become those of an image.

    Args:
        path: `.nii` or `.nii.gz` (voxels), `.mha` (LPS mm, as written for Grand Challenge), or `.npz`
            (voxels) where only indices are wanted.
        registered: the moving image that was registered, for a field without a note of its grid; with `.mha`
            the image whose indices are wanted.
        learn2reg: join voxel to voxel, whatever the headers say.
        indices_only: whether voxels of the registered image are all that is wanted; no place of it is needed.

    Raises:
        ConfigError: nothing says where the moving image lay, or two things contradict each other.
        DataError: a file cannot be used.
    """
    if path.name.endswith(".mha"):
        return _in_millimetres(path, registered, learn2reg=learn2reg, indices_only=indices_only)
    if path.name.endswith(".npz"):
        return _bare(path, indices_only=indices_only)
    fixed, noted = read_field_grids(path)
    if learn2reg:
        log.warning(
            "%s: voxel to voxel as in Learn2Reg; where the moving image lies by its header is ignored", path
        )
        return Transform(read_field(path), fixed, fixed, "voxel_to_voxel")
    moving = _moving_grid(path, noted, registered)
    if moving is None and not indices_only:
        raise ConfigError(
            Fault(
                "the field does not say where its moving image lay",
                str(path),
                "a note of the moving grid, as this program's own fields have",
                remedy="name the moving image that was registered (--moving IMAGE), or read voxel to voxel"
                " whatever the headers say (--learn2reg)",
            )
        )
    return Transform(read_field(path), fixed, moving or fixed, "scanner" if moving else "voxel_to_voxel")


def _in_millimetres(path: Path, registered: Path | None, *, learn2reg: bool, indices_only: bool) -> Transform:
    if learn2reg:
        what = "a field in millimetres does not join voxel to voxel"
        raise ConfigError(Fault(what, str(path), remedy="leave out --learn2reg"))
    if indices_only and registered is None:
        what = "a field in millimetres does not say which image's voxels are wanted"
        raise ConfigError(Fault(what, str(path), remedy="name the moving image with --moving"))
    vectors_mm, fixed = read_field_mha(path)
    # Without indices to be told any grid would do; with the fixed one a displacement stays a displacement.
    moving = fixed if registered is None else header_of(registered).grid
    return Transform(lps_to_voxels(vectors_mm, fixed, moving), fixed, moving, "scanner")


def _bare(path: Path, *, indices_only: bool) -> Transform:
    if not indices_only:
        expected = ".nii, .nii.gz or .mha, whose header says where the fixed image lies"
        raise DataError(Fault("field without a header", str(path), expected, ".npz"))
    field = read_field(path)
    grid = Grid(field.shape[:3], np.eye(4))
    return Transform(field, grid, grid, "voxel_to_voxel")


def _moving_grid(path: Path, noted: Grid | None, registered: Path | None) -> Grid | None:
    given = None if registered is None else header_of(registered).grid
    if noted is not None and given is not None and not noted.matches(given):
        raise ConfigError(
            Fault(
                "--moving is not the image that was registered",
                str(registered),
                f"the grid that is noted in {path}",
                noted.differences(given),
                "leave --moving out: the field's note is enough",
            )
        )
    return noted or given
