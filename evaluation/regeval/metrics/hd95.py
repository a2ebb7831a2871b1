"""Distances between the surfaces of two binary objects."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def hd95_mm(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Return the symmetric 95th percentile of the surface distances.

    Definition: a surface voxel is an object voxel with a face neighbour outside the object; outside the image
    counts as outside the object, but an axis of size 1 (a 2D image) has no neighbours. For each surface voxel
    of one object the distance to the nearest surface voxel of the other, between voxel centres, is taken; of
    these the 95th percentile with linear interpolation; and of the two directions the larger.

    The official Learn2Reg figure weighs by the area of surface elements between voxel corners and measures in
    voxels (spacing 1). With equal spacing the two definitions differ by less than about one voxel.

    Args:
        a: (I, J, K).
        b: (I, J, K).
        spacing_mm: voxel size along each array axis, mm.

    Returns:
        Millimetres; 0 for equal objects, inf if either is empty.

    Raises:
        ValueError: the shapes differ, or there is not one positive spacing per axis.
    """
    if a.shape != b.shape:
        raise ValueError(f"objects: expected one shape, got {a.shape} and {b.shape}")
    if len(spacing_mm) != a.ndim or not all(size > 0 for size in spacing_mm):
        raise ValueError(f"spacing_mm: expected {a.ndim} values above 0, got {tuple(spacing_mm)}")
    if not (a.any() and b.any()):
        return float("inf")
    box = _bounding_box(a | b)
    neighbours = _face_neighbours(a.shape)
    surface_a, surface_b = (_surface(mask[box], neighbours) for mask in (a, b))
    return max(
        _directed_percentile(surface_a, surface_b, spacing_mm),
        _directed_percentile(surface_b, surface_a, spacing_mm),
    )


def _directed_percentile(
    start: NDArray[np.bool_], goal: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> float:
    distance_mm = ndimage.distance_transform_edt(~goal, sampling=tuple(spacing_mm))
    return float(np.percentile(distance_mm[start], 95))


def _surface(mask: NDArray[np.bool_], neighbours: NDArray[np.bool_]) -> NDArray[np.bool_]:
    surface: NDArray[np.bool_] = mask & ~ndimage.binary_erosion(mask, neighbours, border_value=0)
    return surface


def _face_neighbours(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Structuring element: a voxel and its face neighbours along the axes that have more than one voxel."""
    element = ndimage.generate_binary_structure(len(shape), 1)
    for axis, size in enumerate(shape):
        if size == 1:
            np.moveaxis(element, axis, 0)[[0, 2]] = False
    return element


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest block that holds the object; distances within it are those in the whole image."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)
