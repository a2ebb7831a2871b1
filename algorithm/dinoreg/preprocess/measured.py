"""Voxels that hold a measurement, and those that were filled with a number that means nothing."""

from __future__ import annotations

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

    A fill is the exact value of a corner, or what is missing in a corner, where it goes on from there over
    more than 1 % of the image.

    Args:
        image: (I, J, K), as stored.
        missing: (I, J, K), see `missing_voxels`; a few of them inside the field of view are no fill.
    """
    from scipy import ndimage  # a quarter of a second that tasks with masks need not wait

    measured = np.ones(image.shape, dtype=bool)
    at_corners = tuple(slice(None, None, max(1, n - 1)) for n in image.shape)
    fills = [missing] if missing is not None else []
    known = ~missing[at_corners] if missing is not None else np.True_
    fills += [image == value for value in np.unique(image[at_corners][known])]
    for same in fills:
        if np.count_nonzero(same) <= _LEAST_FILL * image.size:
            continue
        labels, _ = ndimage.label(same)
        numbers = np.unique(labels[at_corners])
        filled = np.isin(labels, numbers[numbers > 0])
        if np.count_nonzero(filled) > _LEAST_FILL * image.size:
            measured &= ~filled
    return measured
