"""Cubic-spline interpolation of a field at a few points, without filtering the whole field first.

Same values as `scipy.ndimage.map_coordinates(order=3, mode="constant")`. An interpolating spline weighs every
voxel, but the weights fall by a factor of 0.27 per voxel, so a window around each point is enough.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter1d

# Voxels on each side; the weights beyond are below 1e-11.
_REACH = 20
# From this number of points on, filtering the field once is quicker than a window for each.
_MANY = 1500


def cubic_at(field: NDArray[np.floating], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate a field by cubic splines, mirrored at the outermost voxel centres; 0 beyond them.

    Args:
        field: (I, J, K, C).
        points: (N, 3) voxels.

    Returns:
        (N, C).
    """
    if len(points) >= _MANY:
        return np.stack(
            [
                map_coordinates(field[..., c], points.T, output=np.float64, order=3, mode="constant")
                for c in range(field.shape[3])
            ],
            axis=1,
        )
    weights = [_weights(points[:, axis], field.shape[axis]) for axis in range(3)]
    inside = ((points >= 0) & (points <= np.array(field.shape[:3]) - 1)).all(axis=1)
    values = np.zeros((len(points), field.shape[3]))
    for number in np.flatnonzero(inside):
        window = tuple(
            slice(max(int(centre) - _REACH, 0), int(centre) + _REACH + 2) for centre in points[number]
        )
        block = field[window].astype(np.float64)
        for axis in range(3):  # the first axis that is left goes each time
            block = np.tensordot(weights[axis][number, window[axis]], block, axes=1)
        values[number] = block
    return values


def _weights(positions: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the weight of each of `size` samples at each position, (N, size)."""
    if size == 1:
        return np.ones((len(positions), 1))
    # Samples to spline coefficients, one column per sample; scipy filters mode "constant" like "mirror".
    filters = spline_filter1d(np.eye(size), order=3, axis=0, mode="mirror")
    base = np.floor(positions).astype(np.intp)
    basis = np.zeros((len(positions), size))
    for step in range(-1, 3):
        distance = np.abs(positions - (base + step))
        value = np.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clip(0) ** 3 / 6)
        # Coefficients beyond the ends mirror those within.
        index = np.abs(base + step)
        index = np.where(index > size - 1, 2 * (size - 1) - index, index).clip(0, size - 1)
        np.add.at(basis, (np.arange(len(positions)), index), value)
    return np.asarray(basis @ filters)
