"""The part of an image that has content: the body inside the field of view."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from dinoreg.preprocess.intensity import Kind
from dinoreg.preprocess.measured import measured_voxels

# What counts as body: soft tissue and fat, not air or table padding (CT); above the noise floor (MR), as a
# share of the 97th percentile.
_BODY_HU = -300.0
_MR_SHARE = 0.05


def threshold_foreground(
    image: Float32[np.ndarray, "*s"], kind: Kind, missing: Bool[np.ndarray, "*s"] | None = None
) -> Bool[np.ndarray, "*s"]:
    """Return the body: threshold, largest connected part, holes filled.

    Holes are filled slice by slice along every axis, so that lungs and bowel gas, which reach the edge of the
    field of view, belong to the body.

    Args:
        image: (I, J, K), as stored (HU for CT).
        kind: how the image is normalised.
        missing: (I, J, K), voxels that hold no measurement and stand for air.

    Returns:
        (I, J, K); everything where nothing stands out.
    """
    from scipy import ndimage  # a quarter of a second that tasks with masks need not wait

    if kind == "ct":
        above = image > _BODY_HU
    else:
        values = image if missing is None else image[~missing]
        low = float(values.min())
        above = image - low > _MR_SHARE * (float(np.percentile(values, 97)) - low)
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


def ct_body(
    hu: Float32[np.ndarray, "*s"], missing: Bool[np.ndarray, "*s"] | None = None
) -> Bool[np.ndarray, "*s"]:
    """Return the body in a CT, lungs included even where the field of view cuts them open.

    What has soft tissue on both sides along any axis is inside. Where a fill surrounds the field of view, as
    around the cylinder of a cone-beam CT, all that was measured is: lungs that the cylinder opens have tissue
    on one side.

    Args:
        hu: (I, J, K) Hounsfield units.
        missing: (I, J, K), voxels that hold no measurement and stand for air.

    Returns:
        (I, J, K); everything where nothing stands out.
    """
    measured = measured_voxels(hu, missing)
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


def content_box(image: Float32[np.ndarray, "*s"]) -> tuple[slice, ...]:
    """Return the smallest box outside which every slice is constant; the whole image if it is constant."""
    box = []
    for axis in range(image.ndim):
        others = tuple(a for a in range(image.ndim) if a != axis)
        varies = np.flatnonzero(image.max(axis=others) > image.min(axis=others))
        box.append(slice(int(varies[0]), int(varies[-1]) + 1) if varies.size else slice(0, image.shape[axis]))
    return tuple(box)
