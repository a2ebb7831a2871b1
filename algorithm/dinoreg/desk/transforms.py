"""A registration as an ITK transform: made, inverted, measured, written and read.

ITK transforms lead from points of fixed to points of moving, in LPS millimetres, as displacements here do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from dinoreg.desk.images import to_itk
from dinoreg.desk.linear import affine_transform, carried
from dinoreg.linear.maps import inverse
from dinoreg.space.sampling import sample_linear
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError
from regtask.grid import Grid
from regtask.physical import from_voxels, to_voxels, voxels_to_lps

_LPS_FROM_RAS = np.array((-1.0, -1.0, 1.0))
_ITERATIONS, _CLOSE_ENOUGH_MM = 40, 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Inverse:
    """The way from moving to fixed.

    Attributes:
        transform: on the grid of moving.
        residual_mm: where it lies inside fixed, how far a point of moving that goes to fixed and back ends
            from where it was: the 99th percentile. Folds and anything that left the image have no inverse.
    """

    transform: sitk.Transform
    residual_mm: float


def make_transform(
    displacement: NDArray[np.float32], fixed: Grid, moving: Grid, linear: NDArray[np.float64] | None = None
) -> sitk.Transform:
    """Return a displacement as a composite ITK transform.

    Args:
        displacement: (I, J, K, 3) voxels.
        fixed: its grid.
        moving: grid in whose voxels the displaced positions are.
        linear: (4, 4) RAS mm of fixed to those of moving; where it is given the field holds only what goes
            before it, and it follows as a transform of its own, exact everywhere.
    """
    if linear is None:
        return _composite(voxels_to_lps(displacement, fixed, moving), fixed)
    before = voxels_to_lps(displacement, fixed, carried(moving, inverse(linear)))
    return after(affine_transform(linear), _field(before, fixed))


def after(last: sitk.Transform, first: sitk.Transform) -> sitk.CompositeTransform:
    """Return the transform that goes by the first and then by the last one."""
    composite = sitk.CompositeTransform(3)
    composite.AddTransform(last)
    composite.AddTransform(first)  # what is added last goes first
    composite.FlattenTransform()  # a file holds no composites within composites
    return composite


def invert(
    displacement: NDArray[np.float32],
    fixed: Grid,
    read_on: Grid,
    moving: Grid,
    linear: NDArray[np.float64] | None = None,
) -> Inverse:
    """Invert a displacement by fixed-point iteration, v(y) <- -u(y + v(y)) (Chen et al. 2008), damped.

    Args:
        displacement: (I, J, K, 3) voxels.
        fixed: its grid.
        read_on: grid in whose voxels the displaced positions are.
        moving: grid of the result.
        linear: as in `make_transform`; its inverse goes first, and then the field, on the grid of moving
            carried along.
    """
    if linear is not None:
        back = inverse(linear)
        carried_along = invert(displacement, fixed, carried(read_on, back), carried(moving, back))
        whole = after(carried_along.transform, affine_transform(back))
        return Inverse(whole, carried_along.residual_mm)
    forward = torch.from_numpy(np.moveaxis(voxels_to_lps(displacement, fixed, read_on), -1, 0).copy())
    points = _grid_points_lps(moving)

    def at_fixed(lps: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(to_voxels(lps, fixed, "lps").T).float()

    def missed(found: NDArray[np.float64]) -> NDArray[np.float64]:
        return found + sample_linear(forward, at_fixed(points + found)).T.double().numpy()

    start = (read_on.affine[:3, 3] - fixed.affine[:3, 3]) * _LPS_FROM_RAS
    found = np.broadcast_to(-start, points.shape).copy()
    error = missed(found)
    pace = np.ones(len(points))
    for _ in range(_ITERATIONS):
        tried = found - pace[:, None] * error
        new = missed(tried)
        better = np.linalg.norm(new, axis=1) < np.linalg.norm(error, axis=1)
        found[better], error[better] = tried[better], new[better]
        # Where the field grows by more than its own length a full step overshoots.
        pace = np.where(better, np.minimum(1.0, 1.3 * pace), 0.5 * pace)
        if float(np.quantile(np.linalg.norm(error, axis=1), 0.99)) < _CLOSE_ENOUGH_MM:
            break
    index = at_fixed(points + found).T.numpy()
    inside = ((index >= 0) & (index <= np.array(fixed.shape) - 1)).all(axis=1)
    errors = np.linalg.norm(error, axis=1)[inside]
    residual = float(np.quantile(errors, 0.99)) if len(errors) else 0.0
    vectors = found.reshape(*moving.shape, 3).astype(np.float32)
    return Inverse(_composite(vectors, moving), residual)


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


def _composite(vectors_lps: NDArray[np.float32], grid: Grid) -> sitk.Transform:
    composite = sitk.CompositeTransform(3)
    composite.AddTransform(_field(vectors_lps, grid))
    return composite


def _field(vectors_lps: NDArray[np.float32], grid: Grid) -> sitk.Transform:
    return sitk.DisplacementFieldTransform(to_itk(vectors_lps.astype(np.float64), grid))


def _grid_points_lps(grid: Grid) -> NDArray[np.float64]:
    return from_voxels(np.indices(grid.shape).reshape(3, -1).T, grid, "lps")
