"""Checks of voxel values that images and fields share."""

import numpy as np
from numpy.typing import NDArray

from regtask.errors import Fault


def as_float32(array: NDArray[np.number]) -> NDArray[np.float32]:
    """Copy to float32 in C order.

    Values beyond its range become infinite, which `nonfinite_fault` then reports.
    """
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C")


def nonfinite_fault(array: NDArray[np.number], where: str) -> Fault | None:
    """Return a fault that counts the NaN and infinite values and names the first, or None."""
    return first_bad(~np.isfinite(array), "values that are not finite", where, "finite numbers")


def first_bad(bad: NDArray[np.bool_], what: str, where: str, expected: str) -> Fault | None:
    """Return a fault that counts the marked elements and names the index of the first, or None."""
    if not bad.any():
        return None
    first = tuple(int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
    return Fault(what, where, expected, f"{np.count_nonzero(bad)} of {bad.size}, the first at {first}")
