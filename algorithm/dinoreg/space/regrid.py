"""Images on one another's grids, through scanner space. No torch here."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from scipy import ndimage

from regtask.grid import Grid

# With less than this share of either image inside the other, positions in the scanner say nothing about
# anatomy (two scanners, two frames of reference).
_LEAST_OVERLAP = 0.25
_SAMPLES = 9  # per axis


def working_grid(fixed: Grid, moving: Grid) -> Grid:
    """Return the grid that the moving image is read on to be registered to the fixed one.

    It is the fixed grid itself; where the two images hardly overlap in the scanner, the fixed grid moved so
    that its centre lies on that of the moving image.
    """
    if max(_share_inside(fixed, moving), _share_inside(moving, fixed)) >= _LEAST_OVERLAP:
        return fixed
    affine = fixed.affine.copy()
    affine[:3, 3] += _centre(moving) - _centre(fixed)
    return Grid(fixed.shape, affine)


def regrid(
    image: Float32[np.ndarray, "_ _ _"], grid: Grid, target: Grid, *, order: Literal[0, 1], outside: float
) -> Float32[np.ndarray, "i j k"]:
    """Read an image at the voxels of another grid.

    Args:
        image: (I', J', K').
        grid: grid of `image`.
        target: grid of the result, (I, J, K).
        order: 1 linear, 0 nearest neighbour.
        outside: value beyond the image.

    Returns:
        (I, J, K) float32.
    """
    if grid.matches(target):
        return image
    # "grid-constant": voxels at the very edge, a rounding error outside, keep their value.
    matrix = np.linalg.inv(grid.affine) @ target.affine
    result = ndimage.affine_transform(
        image, matrix, output_shape=target.shape, order=order, mode="grid-constant", cval=outside
    )
    return np.asarray(result, dtype=np.float32)


def _share_inside(grid: Grid, other: Grid) -> float:
    """Share of a grid's volume that lies inside another grid, from samples."""
    axes = [np.linspace(-0.5, size - 0.5, 2 * _SAMPLES + 1)[1::2] for size in grid.shape]
    points = other.ras_to_index(grid.index_to_ras(list(itertools.product(*axes))))
    inside = (points >= -0.5) & (points <= np.array(other.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def _centre(grid: Grid) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = grid.index_to_ras([(np.array(grid.shape) - 1) / 2])[0]
    return centre
