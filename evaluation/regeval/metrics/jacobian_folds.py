"""How regular a displacement field is: its Jacobian determinant, folds, and the spread of volume change.

Convention: phi(x) = x + u(x), fixed -> moving, u in voxels of the fixed grid, component c along array axis c.
The determinant in voxels equals the one in mm, since the spacing cancels along each row and column.
"""

import numpy as np
from numpy.typing import NDArray

from regeval.metrics.slabs import for_each_slab

# Determinants at or below 0 have no logarithm; the clip makes folds cost log(1e-9) = -20.7 each.
_SMALLEST_DETERMINANT = 1e-9


def jacobian_determinant(field: NDArray[np.floating], threads: int = 1) -> NDArray[np.float64]:
    """Return det(d phi / d x) by central differences, one-sided in the outermost voxels.

    Args:
        field: (I, J, K, 3) voxels. An axis of size 1 has no gradient.
        threads: how many slabs are worked on at once; the result does not depend on it.

    Returns:
        (I, J, K): 1 keeps the volume, below 1 a fixed region corresponds to a smaller moving one, 0 or less
        is a fold.

    Raises:
        ValueError: the field is not (I, J, K, 3).
    """
    if field.ndim != 4 or field.shape[3] != 3:
        raise ValueError(f"field: expected shape (I, J, K, 3), got {field.shape}")
    determinant = np.empty(field.shape[:3])

    def work(start: int, stop: int) -> None:
        first, last = max(start - 1, 0), min(stop + 1, field.shape[0])
        block = np.moveaxis(field[first:last], -1, 0).astype(np.float64, order="C")
        determinant[start:stop] = _determinant(block, slice(start - first, stop - first))

    for_each_slab(determinant.shape, work, threads)
    return determinant


def folding_fraction(field: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> float:
    """Return the share of voxels whose Jacobian determinant is not positive.

    Args:
        field: (I, J, K, 3) voxels.
        mask: (I, J, K), the fixed voxels to judge; None judges all.

    Returns:
        0 to 1.

    Raises:
        ValueError: shapes do not fit, or the mask is empty.
    """
    return folded_share(_judged(jacobian_determinant(field), mask))


def sd_log_jacobian(field: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> float:
    """Return the standard deviation of the logarithm of the Jacobian determinant.

    The plain definition: log(max(det, 1e-9)), population standard deviation. The official Learn2Reg evaluator
    takes log(det + 3) instead, which hardly notices folds, and leaves out two voxels at every face.

    Args:
        field: (I, J, K, 3) voxels.
        mask: (I, J, K), the fixed voxels to judge; None judges all.

    Returns:
        0 for a translation; no unit.

    Raises:
        ValueError: shapes do not fit, or the mask is empty.
    """
    return log_spread(_judged(jacobian_determinant(field), mask))


def folded_share(determinants: NDArray[np.floating]) -> float:
    """Return the share, 0 to 1, of determinants that are not positive."""
    return float(np.mean(determinants <= 0))


def log_spread(determinants: NDArray[np.floating]) -> float:
    """Return the standard deviation of log(max(det, 1e-9))."""
    logs = np.maximum(determinants, _SMALLEST_DETERMINANT)
    return float(np.log(logs, out=logs).std())


def _determinant(u: NDArray[np.float64], kept: slice) -> NDArray[np.float64]:
    """Determinants of a block (3, I, J, K), of the slices `kept` along its first axis."""
    rows = [[_derivative(component, axis)[kept] for axis in range(3)] for component in u]
    for axis in range(3):
        rows[axis][axis] += 1
    (a, b, c), (d, e, f), (g, h, i) = rows
    determinant: NDArray[np.float64] = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return determinant


def _derivative(component: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    if component.shape[axis] == 1:
        return np.zeros(component.shape)
    return np.asarray(np.gradient(component, axis=axis))


def _judged(determinant: NDArray[np.float64], mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    if mask is None:
        return determinant
    if mask.shape != determinant.shape:
        raise ValueError(f"mask: expected shape {determinant.shape}, got {mask.shape}")
    if not mask.any():
        raise ValueError("mask: expected at least one voxel inside, got none")
    return determinant[mask]
