"""A registration as an ITK transform: made, inverted, measured, written and read.

ITK transforms lead from points of fixed to points of moving, in LPS millimetres, as displacements here do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.inverse import invert as invert_transform
from dinoreg.desk.exchange.lattice import field_transform
from dinoreg.desk.exchange.parts import joined
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError
from regtask.grid import Grid
from regtask.physical import voxels_to_lps


@dataclass(frozen=True, slots=True, eq=False)
class Inverse:
    """The way from moving to fixed.

    Attributes:
        transform: on the grid of moving.
        residual_mm: how far a place of moving that goes to fixed and back ends from where it was, among those
            that lead into fixed: the 99th percentile.
        largest_mm: the largest of these.
    """

    transform: sitk.Transform
    residual_mm: float
    largest_mm: float = 0.0


def make_transform(displacement: NDArray[np.float32], fixed: Grid, moving: Grid) -> sitk.Transform:
    """Return a displacement as a composite ITK transform.

    Args:
        displacement: (I, J, K, 3) voxels.
        fixed: its grid.
        moving: grid in whose voxels the displaced positions are.
    """
    return joined([field_transform(voxels_to_lps(displacement, fixed, moving), fixed)])


def invert(displacement: NDArray[np.float32], fixed: Grid, read_on: Grid, moving: Grid) -> Inverse:
    """Invert a displacement; see `dinoreg.desk.exchange.inverse`.

    Args:
        displacement: (I, J, K, 3) voxels.
        fixed: its grid.
        read_on: grid in whose voxels the displaced positions are.
        moving: grid of the result.
    """
    found = invert_transform(make_transform(displacement, fixed, read_on), fixed, moving)
    return Inverse(joined([found.transform]), found.most_mm, found.largest_mm)


def write_transform(path: Path, transform: sitk.Transform) -> None:
    """Write a transform for ITK, SimpleITK and 3D Slicer, whole or not at all (`.h5`, `.tfm`, `.hdf5`).

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            sitk.WriteTransform(transform, str(temporary))
    except (OSError, RuntimeError) as error:
        raise OutputError(Fault("cannot write the transform", str(path), got=str(error))) from error


def read_transform(path: Path) -> sitk.Transform:
    """Read a transform that ITK can read.

    Raises:
        DataError: it cannot be read.
    """
    if not path.is_file():
        raise DataError(Fault("no such file", str(path), expected="a transform (.h5, .tfm)"))
    try:
        return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise DataError(
            Fault("not a transform that ITK reads", str(path), ".h5 or .tfm", str(error).splitlines()[-1])
        ) from error


def transform_points(transform: sitk.Transform, points_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where points lead, (N, 3) LPS mm."""
    return np.array([transform.TransformPoint(point) for point in points_lps.tolist()]).reshape(-1, 3)
