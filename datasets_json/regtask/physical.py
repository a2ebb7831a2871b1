"""Displacements and points in voxels and in scanner millimetres.

Voxel form: `u` of shape (I, J, K, 3); fixed voxel x is read at voxel x + u(x) of the moving image.
Physical form: `d` of the same shape, LPS millimetres as in ITK; the fixed voxel at p is read at p + d.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regtask.errors import Fault, SpaceError
from regtask.grid import Grid

_LPS_FROM_RAS = np.diag((-1.0, -1.0, 1.0))

# What the three numbers of a point are: indices of a voxel's centre, or millimetres in the scanner.
PointSpace = Literal["voxel", "lps", "ras"]


def to_voxels(points: ArrayLike, grid: Grid, space: PointSpace) -> NDArray[np.float64]:
    """Convert points to voxel coordinates.

    Args:
        points: (N, 3), in `space`.
        grid: whose voxels are wanted.
        space: what the points are given in.

    Returns:
        (N, 3) voxels.
    """
    given = np.asarray(points, dtype=np.float64)
    if space == "voxel":
        return given
    return grid.ras_to_index(given @ _LPS_FROM_RAS if space == "lps" else given)


def from_voxels(points: ArrayLike, grid: Grid, space: PointSpace) -> NDArray[np.float64]:
    """Convert points from voxel coordinates; the inverse of `to_voxels`.

    Args:
        points: (N, 3), voxels.
        grid: whose voxels they are.
        space: what the points are wanted in.

    Returns:
        (N, 3), in `space`.
    """
    given = np.asarray(points, dtype=np.float64)
    if space == "voxel":
        return given
    ras = grid.index_to_ras(given)
    return ras @ _LPS_FROM_RAS if space == "lps" else ras


def voxels_to_lps(vectors: NDArray[np.floating], fixed: Grid, moving: Grid) -> NDArray[np.float32]:
    """Convert a displacement in voxels to LPS millimetres.

    Args:
        vectors: (I, J, K, 3), voxels.
        fixed: grid of the fixed image, (I, J, K).
        moving: grid in whose voxels the displaced positions are.

    Returns:
        (I, J, K, 3) float32, mm.

    Raises:
        SpaceError: the vectors do not have the fixed grid's shape.
    """
    _refuse_shape(vectors, fixed)
    # A_m (x + u) - A_f x, with the part that does not depend on u gathered in one affine function of x.
    linear = moving.affine[:3, :3]
    rest = moving.affine - fixed.affine
    result = vectors @ (_LPS_FROM_RAS @ linear).T + _affine_field(fixed.shape, _LPS_FROM_RAS @ rest[:3])
    return np.asarray(result, dtype=np.float32)


def lps_to_voxels(vectors_mm: NDArray[np.floating], fixed: Grid, moving: Grid) -> NDArray[np.float32]:
    """Convert a displacement in LPS millimetres to voxels; the inverse of `voxels_to_lps`.

    Args:
        vectors_mm: (I, J, K, 3), mm.
        fixed: grid of the fixed image, (I, J, K).
        moving: grid in whose voxels the displaced positions are wanted.

    Returns:
        (I, J, K, 3) float32, voxels.

    Raises:
        SpaceError: the vectors do not have the fixed grid's shape.
    """
    _refuse_shape(vectors_mm, fixed)
    to_moving = np.linalg.inv(moving.affine)
    rest = to_moving @ fixed.affine - np.eye(4)
    result = vectors_mm @ (to_moving[:3, :3] @ _LPS_FROM_RAS).T + _affine_field(fixed.shape, rest[:3])
    return np.asarray(result, dtype=np.float32)


def _affine_field(shape: tuple[int, ...], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `matrix @ (i, j, k, 1)` at every voxel, (I, J, K, 3)."""
    i, j, k = (np.arange(size, dtype=np.float64)[:, None] for size in shape)
    along = (i * matrix[:, 0], j * matrix[:, 1], k * matrix[:, 2])
    return np.asarray(along[0][:, None, None] + along[1][None, :, None] + along[2][None, None] + matrix[:, 3])


def _refuse_shape(vectors: NDArray[np.floating], fixed: Grid) -> None:
    if vectors.shape != (*fixed.shape, 3):
        raise SpaceError(
            Fault("field and grid differ", "displacement", f"shape {(*fixed.shape, 3)}", str(vectors.shape))
        )
