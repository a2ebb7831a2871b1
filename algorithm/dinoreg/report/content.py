"""What of an image is worth looking at: its grey window, and the voxel to lay the planes through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A voxel is content if it is brighter than the darkest by this share of the robust range: lung (-850 HU) is,
# air (-1000 HU) is not.
_CONTENT_SHARE = 0.05
_ROBUST_PERCENTILES = (0.5, 99.5)
_WINDOW_PERCENTILES = (2.0, 99.8)
# Only Hounsfield units go that low; percentiles would waste most of the greys on skin, gas and table.
_HOUNSFIELD_BELOW = -500.0
_SOFT_TISSUE_WINDOW_HU = (-160.0, 240.0)
_LUNG_WINDOW_HU = (-1000.0, 500.0)
_LUNG_HU = (-950.0, -600.0)
_LUNG_SHARE = 0.2
# Percentiles of so many voxels are as good as those of all.
_SAMPLE = 500_000


def find_content(image: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the voxels that are not background; all of them for a constant image.

    Args:
        image: (I, J, K).
    """
    low, high = np.percentile(_sample(image), _ROBUST_PERCENTILES)
    if not high > low:
        return np.ones(image.shape, dtype=np.bool_)
    content: NDArray[np.bool_] = image > low + _CONTENT_SHARE * (high - low)
    return content


def grey_window(image: NDArray[np.floating]) -> tuple[float, float]:
    """Return the intensities to draw black and white.

    CT in Hounsfield units, told by its air, gets the usual soft tissue window, or a wide one where lungs make
    up a good part of the content. Everything else gets robust percentiles of its content.

    Args:
        image: (I, J, K), any intensity unit.
    """
    values = _sample(image[find_content(image)])
    if np.percentile(_sample(image), _ROBUST_PERCENTILES[0]) < _HOUNSFIELD_BELOW:
        lung = np.mean((values > _LUNG_HU[0]) & (values < _LUNG_HU[1]))
        return _LUNG_WINDOW_HU if lung > _LUNG_SHARE else _SOFT_TISSUE_WINDOW_HU
    low, high = (float(value) for value in np.percentile(values, _WINDOW_PERCENTILES))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def choose_centre(image: NDArray[np.floating], labels: NDArray[np.integer] | None = None) -> tuple[int, ...]:
    """Return the voxel (i, j, k) through whose planes most can be seen.

    With labels it is on each axis the plane that shows most of them, each label counting by its share of its
    own largest section, so that a kidney counts as much as a liver. Without, the middle of the content.

    Args:
        image: (I, J, K).
        labels: (I, J, K) or None.
    """
    if labels is not None and labels.any():
        return tuple(_richest_plane(labels, axis) for axis in range(labels.ndim))
    content = find_content(image)
    return tuple(_middle(_sections(content, axis)) for axis in range(content.ndim))


def _richest_plane(labels: NDArray[np.integer], axis: int) -> int:
    total = np.zeros(labels.shape[axis])
    for label in np.unique(labels[labels != 0]):
        area = _sections(labels == label, axis)
        total += area / area.max()
    return int(total.argmax())


def _sections(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Count the voxels of each plane along an axis."""
    others = tuple(other for other in range(mask.ndim) if other != axis)
    return np.asarray(np.count_nonzero(mask, axis=others), dtype=np.int64)


def _middle(counts: NDArray[np.int64]) -> int:
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, cumulative[-1] / 2))


def _sample(values: NDArray[np.floating]) -> NDArray[np.floating]:
    flat = values.ravel()
    return flat[:: max(1, flat.size // _SAMPLE)]
