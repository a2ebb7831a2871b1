"""Where the body is: a mask where there is one, else what stands out from the background."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from regtask.images import read_mask
from regtask.pair import Companions

# A body that fills less or more of the image is taken for a failure to find it.
_PLAUSIBLE = (0.02, 0.97)
_BINS = 128
# Landmarks at the surface may lie this far outside.
_MARGIN_MM = 5.0


def body_of(
    image: NDArray[np.floating], spacing_mm: tuple[float, ...], mask_file: Companions, role: str
) -> NDArray[np.bool_] | None:
    """Return the body, 5 mm larger than it is, (I, J, K); None where it cannot be told.

    Args:
        image: (I, J, K).
        spacing_mm: its voxel size.
        mask_file: the masks of the pair.
        role: "fixed" or "moving".
    """
    path = getattr(mask_file, role)
    body = _foreground(image) if path is None else read_mask(path)
    if body is None or body.shape != image.shape or not body.any():
        return None
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~body, sampling=spacing_mm)
    return np.asarray(distance <= _MARGIN_MM)


def _foreground(image: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """Return the largest bright part with everything that it encloses in any slice."""
    low, high = np.percentile(image, (1, 99))
    if not low < high:
        return None
    bright = image > _threshold(np.clip(image, low, high))
    parts, count = ndimage.label(bright)
    if not count:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    for axis in range(3):
        for number in range(largest.shape[axis]):
            plane = [slice(None)] * 3
            plane[axis] = number  # type: ignore[call-overload]
            largest[tuple(plane)] = ndimage.binary_fill_holes(largest[tuple(plane)])
    low_share, high_share = _PLAUSIBLE
    return largest if low_share < largest.mean() < high_share else None


def _threshold(values: NDArray[np.floating]) -> float:
    """Return Otsu's threshold: the two sides differ the most between, the least within."""
    counts, edges = np.histogram(values, _BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])
