"""Checks of voxel values that images and fields share."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault

# Brain tools write NaN outside the brain, which may take less than a tenth of the field of view.
MAX_INVALID_SHARE = 0.95


def as_float32(array: NDArray[np.number]) -> NDArray[np.float32]:
    """Copy to float32 in C order.

    Values beyond its range become infinite, which `nonfinite_fault` then reports.
    """
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C")


def fill_invalid(
    array: NDArray[np.float32], where: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Take NaN and infinite values of an image as voxels without a value.

    Returns:
        The array, with its lowest finite value in their place, and where they are; None where there are none.

    Raises:
        DataError: more than `MAX_INVALID_SHARE` of the voxels have no value.
    """
    finite = np.isfinite(array)
    if finite.all():
        return array, None
    if np.count_nonzero(~finite) > MAX_INVALID_SHARE * array.size:
        fault = first_bad(~finite, "values that are not finite", where, "finite numbers in most voxels")
        remedy = f"up to {MAX_INVALID_SHARE:.0%} of an image may lack a value: was it resampled elsewhere?"
        raise DataError(replace(fault or Fault("no voxels", where), remedy=remedy))
    return np.where(finite, array, array[finite].min()), ~finite


def nonfinite_fault(array: NDArray[np.number], where: str) -> Fault | None:
    """Return a fault that counts the NaN and infinite values and names the first, or None."""
    return first_bad(~np.isfinite(array), "values that are not finite", where, "finite numbers")


def first_bad(bad: NDArray[np.bool_], what: str, where: str, expected: str) -> Fault | None:
    """Return a fault that counts the marked elements and names the index of the first, or None."""
    if not bad.any():
        return None
    first = tuple(int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
    return Fault(what, where, expected, f"{np.count_nonzero(bad)} of {bad.size}, the first at {first}")
