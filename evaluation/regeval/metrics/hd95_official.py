"""HD95 as the official Learn2Reg evaluator takes it: in voxels, over surface elements weighted by area.

The surface runs between voxel centres. Around every voxel corner lie eight voxels; where they are not all
alike, a piece of surface passes, whose area depends on which of the eight are inside. The rules are those of
the library surface-distance (Nikolov et al., 2018) at spacing 1.
"""

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_CORNERS = tuple(itertools.product((0, 1), repeat=3))
_FULL = (1 << len(_CORNERS)) - 1
# A corner cut off a cube through the midpoints of its three edges: an equilateral triangle of side sqrt(1/2).
_CUT_CORNER = math.sqrt(3) / 8


def hd95_voxels(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the symmetric 95th percentile, by area, of the distances between two surfaces, in voxels.

    Of each direction the smallest distance is taken within which 95 % of the area lies, without
    interpolation; of the two directions the larger.

    Args:
        a: (I, J, K), best cropped to where `a` or `b` is.
        b: (I, J, K).

    Returns:
        Voxels; inf if either is empty.
    """
    if not (a.any() and b.any()):
        return math.inf
    codes_a, codes_b = corner_codes(a), corner_codes(b)
    surface_a, surface_b = ((codes != 0) & (codes != _FULL) for codes in (codes_a, codes_b))
    to_a, to_b = (ndimage.distance_transform_edt(~surface) for surface in (surface_a, surface_b))
    areas = element_areas()
    return max(
        _percentile(to_b[surface_a], areas[codes_a[surface_a]]),
        _percentile(to_a[surface_b], areas[codes_b[surface_b]]),
    )


def corner_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return which of the eight voxels around each voxel corner are inside, one bit per voxel.

    Args:
        mask: (I, J, K); outside the array nothing is inside.

    Returns:
        (I + 1, J + 1, K + 1).
    """
    padded = np.pad(mask, 1).view(np.uint8)
    shape = tuple(size + 1 for size in mask.shape)
    codes = np.zeros(shape, np.uint8)
    for bit, corner in enumerate(_CORNERS):
        window = tuple(slice(start, start + size) for start, size in zip(corner, shape, strict=True))
        codes |= padded[window] << np.uint8(bit)
    return codes


@functools.cache
def element_areas() -> NDArray[np.float64]:
    """Return the area of the surface element of each code, (256,), in squared voxels."""
    areas = np.array([_area(code) for code in range(_FULL + 1)])
    areas.flags.writeable = False
    return areas


def _area(code: int) -> float:
    """Area of the surface between the corners inside and those outside; the rarer kind is cut off."""
    inside = {corner for bit, corner in enumerate(_CORNERS) if code >> bit & 1}
    if len(inside) > len(_CORNERS) // 2:
        inside = set(_CORNERS) - inside
    area = 0.0
    while inside:
        piece = _connected({inside.pop()}, inside)
        inside -= piece
        area += _piece_area(piece)
    return area


def _connected(piece: set[tuple[int, ...]], others: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """Return `piece` with everything that edges of the cube connect to it."""
    while reached := {corner for corner in others - piece if any(_adjacent(corner, one) for one in piece)}:
        piece = piece | reached
    return piece


def _piece_area(piece: set[tuple[int, ...]]) -> float:
    """Area of the surface that cuts one to four connected corners off the unit cube.

    The surface passes through the midpoints of the edges; where these do not lie in one plane it consists
    of triangles.
    """
    degrees = [sum(_adjacent(one, other) for other in piece) for one in piece]
    match len(piece), max(degrees):
        case 1, _:
            return _CUT_CORNER
        case 2, _:
            return math.sqrt(0.5)  # a rectangle between two parallel edges
        case 3, _:
            return 0.5 + 3 * _CUT_CORNER  # three corners of one face
        case 4, 3:
            return 6 * _CUT_CORNER  # a corner and its neighbours: a regular hexagon
        case _ if sum(degrees) == 8:
            return 1.0  # a face
        case _:
            return math.sqrt(0.5) + 4 * _CUT_CORNER  # a path of three edges, along three axes


def _adjacent(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _percentile(distances: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
    order = np.argsort(distances, kind="stable")
    cumulative = np.cumsum(areas[order]) / areas.sum()
    index = int(np.searchsorted(cumulative, 0.95))
    return float(distances[order][min(index, distances.size - 1)])
