"""The Jacobian determinant of a field, in slabs so that large fields fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLAB = 16


def jacobian_determinant(field: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return det(I + grad u) by central differences, one-sided at the border.

    Args:
        field: (I, J, K, 3) voxels of the fixed grid, pull; an axis of size 1 has no gradient.

    Returns:
        (I, J, K); 1 keeps the volume, 0 or less is a fold.
    """
    result = np.empty(field.shape[:3], dtype=np.float32)
    size = field.shape[0]
    for start in range(0, size, _SLAB):
        stop = min(start + _SLAB, size)
        first = max(start - 1, 0)
        slab = _determinant(field[first : stop + 1])
        result[start:stop] = slab[start - first : stop - first]
    return result


def _determinant(field: NDArray[np.floating]) -> NDArray[np.floating]:
    rows = [[_derivative(field[..., component], axis) for axis in range(3)] for component in range(3)]
    for axis in range(3):
        rows[axis][axis] += 1
    (a, b, c), (d, e, f), (g, h, i) = rows
    return np.asarray(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def _derivative(component: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    if component.shape[axis] == 1:
        return np.zeros_like(component)
    return np.asarray(np.gradient(component, axis=axis))
