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
    return _affine_everywhere(vectors, _LPS_FROM_RAS @ linear, _LPS_FROM_RAS @ rest[:3])


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
    return _affine_everywhere(vectors_mm, to_moving[:3, :3] @ _LPS_FROM_RAS, rest[:3])


def _affine_everywhere(
    vectors: NDArray[np.floating], linear: NDArray[np.floating], rest: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return `linear @ u + rest @ (i, j, k, 1)` at every voxel, (I, J, K, 3); float64 a plane at a time."""
    j, k = (np.arange(size, dtype=np.float64)[:, None] for size in vectors.shape[1:3])
    plane = (j * rest[:, 1])[:, None] + k * rest[:, 2] + rest[:, 3]
    result = np.empty(vectors.shape, np.float32)
    for i, along in enumerate(vectors):
        result[i] = along @ linear.T + (plane + i * rest[:, 0])
    return result


def _refuse_shape(vectors: NDArray[np.floating], fixed: Grid) -> None:
    if vectors.shape != (*fixed.shape, 3):
        raise SpaceError(
            Fault("field and grid differ", "displacement", f"shape {(*fixed.shape, 3)}", str(vectors.shape))
        )
