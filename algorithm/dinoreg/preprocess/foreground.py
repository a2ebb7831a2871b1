"""The part of an image that has content: the body inside the field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dinoreg.preprocess.intensity import Kind

# What counts as body: soft tissue and fat, not air or table padding (CT); above the noise floor (MR), as a
# share of the 97th percentile.
_BODY_HU = -300.0
_MR_SHARE = 0.05
# Share of an image that a constant beyond the field of view takes at least.
_LEAST_FILL = 0.01


def threshold_foreground(image: NDArray[np.float32], kind: Kind) -> NDArray[np.bool_]:
    """Return the body: threshold, largest connected part, holes filled.

    Holes are filled slice by slice along every axis, so that lungs and bowel gas, which reach the edge of the
    field of view, belong to the body.

    Args:
        image: (I, J, K), as stored (HU for CT).
        kind: how the image is normalised.

    Returns:
        (I, J, K); everything where nothing stands out.
    """
    from scipy import ndimage  # a quarter of a second that tasks with masks need not wait

    if kind == "ct":
        above = image > _BODY_HU
    else:
        low = float(image.min())
        above = image - low > _MR_SHARE * (float(np.percentile(image, 97)) - low)
    labels, count = ndimage.label(above)
    if count == 0:
        return np.ones(image.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body: NDArray[np.bool_] = labels == sizes.argmax()
    for axis in range(image.ndim):
        planes = np.moveaxis(body, axis, 0)
        for plane in planes:
            if plane.shape[0] > 1 and plane.shape[1] > 1:
                plane[...] = ndimage.binary_fill_holes(plane)
    return body


def measured_voxels(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return what a scanner measured: all but the constant that fills an image beyond its field of view.

    A fill is the exact value of a corner where it goes on from there over more than 1 % of the image.

    Args:
        image: (I, J, K), as stored.
    """
    from scipy import ndimage

    measured = np.ones(image.shape, dtype=bool)
    corners = image[tuple(slice(None, None, max(1, n - 1)) for n in image.shape)]
    for value in np.unique(corners):
        same = image == value
        if np.count_nonzero(same) <= _LEAST_FILL * image.size:
            continue
        labels, _ = ndimage.label(same)
        at_corners = np.unique(labels[tuple(slice(None, None, max(1, n - 1)) for n in image.shape)])
        filled = np.isin(labels, at_corners[at_corners > 0])
        if np.count_nonzero(filled) > _LEAST_FILL * image.size:
            measured &= ~filled
    return measured


def ct_body(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the body in a CT, lungs included even where the field of view cuts them open.

    What has soft tissue on both sides along any axis is inside. Where a fill surrounds the field of view, as
    around the cylinder of a cone-beam CT, all that was measured is: lungs that the cylinder opens have tissue
    on one side.

    Args:
        hu: (I, J, K) Hounsfield units.

    Returns:
        (I, J, K); everything where nothing stands out.
    """
    measured = measured_voxels(hu)
    if not measured.all():
        return measured
    solid = threshold_foreground(hu, "ct")
    between = np.zeros(hu.shape, dtype=np.uint8)
    for axis in range(hu.ndim):
        before = np.logical_or.accumulate(solid, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(solid, axis), axis=axis), axis)
        between += before & after
    inside: NDArray[np.bool_] = (between >= 1) | solid
    return inside


def content_box(image: NDArray[np.float32]) -> tuple[slice, ...]:
    """Return the smallest box outside which every slice is constant; the whole image if it is constant."""
    box = []
    for axis in range(image.ndim):
        others = tuple(a for a in range(image.ndim) if a != axis)
        varies = np.flatnonzero(image.max(axis=others) > image.min(axis=others))
        box.append(slice(int(varies[0]), int(varies[-1]) + 1) if varies.size else slice(0, image.shape[axis]))
    return tuple(box)
