"""Voxels that hold a measurement, and those that were filled with a number that means nothing."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from dinoreg.preprocess.intensity import Kind

# No scanner measures less than vacuum, -1024 HU: -2000 and -3024 stand beyond the circle that it sees.
_BEYOND_HU = -1900.0
# If nearly everything lies below it, the values are on a scale of their own, and it says nothing.
_MOST = 0.95
# Share of an image that a constant beyond the field of view takes at least.
_LEAST_FILL = 0.01


def missing_voxels(
    image: Float32[np.ndarray, "*s"], kind: Kind, invalid: Bool[np.ndarray, "*s"] | None
) -> Bool[np.ndarray, "*s"] | None:
    """Return the voxels whose value is none: NaN or infinite in the file and, in a CT, below any CT number.

    Args:
        image: (I, J, K), as stored.
        kind: how the image is normalised.
        invalid: (I, J, K), where the file has no value; None where it has one everywhere.

    Returns:
        (I, J, K); None where there are no such voxels.
    """
    if kind != "ct" or float(image.min()) > _BEYOND_HU:
        return invalid
    beyond = image <= _BEYOND_HU
    if np.count_nonzero(beyond) > _MOST * beyond.size:
        return invalid
    return beyond if invalid is None else beyond | invalid


def fill_missing(
    image: Float32[np.ndarray, "*s"], missing: Bool[np.ndarray, "*s"]
) -> Float32[np.ndarray, "*s"]:
    """Return a copy with the lowest measured value where nothing was measured.

    No threshold, window or percentile meets a number then that stands for nothing.
    """
    filled: NDArray[np.float32] = np.where(missing, image[~missing].min(), image)
    return filled


def measured_voxels(
    image: Float32[np.ndarray, "*s"], missing: Bool[np.ndarray, "*s"] | None = None
) -> Bool[np.ndarray, "*s"]:
    """Return what a scanner measured: all but what fills an image beyond its field of view.

    A fill is the exact value of a corner of what is known, or what is missing in a corner of the image, where
    it goes on from there over more than 1 % of the image.

    Args:
        image: (I, J, K), as stored.
        missing: (I, J, K), see `missing_voxels`; a few of them inside the field of view are no fill. An image
            that was read on a larger grid has them all around.
    """
    from scipy import ndimage  # a quarter of a second that tasks with masks need not wait

    measured = np.ones(image.shape, dtype=bool)
    corners = tuple(np.array(list(itertools.product(*[(0, n - 1) for n in image.shape]))).T)
    outermost = corners
    fills = []
    if missing is not None:
        fills.append((missing, corners))
        if missing[corners].any() and not missing.all():
            outermost = _outermost(~missing)
    fills += [(image == value, outermost) for value in np.unique(image[outermost])]
    for same, begin in fills:
        if np.count_nonzero(same) <= _LEAST_FILL * image.size:
            continue
        labels, _ = ndimage.label(same)
        numbers = np.unique(labels[begin])
        filled = np.isin(labels, numbers[numbers > 0])
        if np.count_nonzero(filled) > _LEAST_FILL * image.size:
            measured &= ~filled
    return measured


def _outermost(known: Bool[np.ndarray, "*s"]) -> tuple[NDArray[np.intp], ...]:
    """Return the index of the voxels that lie furthest out towards each corner of an image.

    Those are the corners of a field of view that stands in it, turned or not.

    Args:
        known: (I, J, K), not all False.
    """
    along = [
        np.linspace(-1, 1, n, dtype=np.float32) if n > 1 else np.zeros(1, np.float32) for n in known.shape
    ]
    found = []
    for signs in itertools.product((-1, 1), repeat=known.ndim):
        outward = np.zeros((1,) * known.ndim, np.float32)
        for axis, (sign, share) in enumerate(zip(signs, along, strict=True)):
            outward = outward + sign * share.reshape([-1 if a == axis else 1 for a in range(known.ndim)])
        found.append(int(np.where(known, outward, -np.inf).argmax()))
    return np.unravel_index(found, known.shape)
