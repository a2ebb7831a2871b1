"""The official HD95 by hand: areas of surface elements, distances between voxel corners."""

import math

import numpy as np
import pytest

from regeval.metrics.hd95_official import corner_codes, element_areas, hd95_voxels

CUT = math.sqrt(3) / 8


def code_of(*corners):
    """Code of a cube with these corners inside, in the order of the bits: first axis slowest."""
    return sum(1 << (4 * i + 2 * j + k) for i, j, k in corners)


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        ([], 0),
        ([(0, 1, 0)], CUT),  # a corner: triangle of side sqrt(1/2)
        ([(0, 0, 0), (0, 0, 1)], math.sqrt(0.5)),  # an edge: rectangle 1 by sqrt(1/2)
        ([(0, 0, 0), (0, 1, 1)], 2 * CUT),  # a face's diagonal: two corners
        ([(0, 0, 0), (1, 1, 1)], 2 * CUT),
        ([(0, 0, 0), (0, 0, 1), (1, 1, 0)], math.sqrt(0.5) + CUT),  # an edge and a corner
        ([(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)], 1),  # a face
        (
            [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
            3 * math.sqrt(3) / 4,
        ),  # regular hexagon, side sqrt(1/2)
        ([(0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)], math.sqrt(2)),  # two opposite edges
    ],
)
def test_areas_by_hand(corners, area):
    code = code_of(*corners)
    assert element_areas()[code] == pytest.approx(area)
    assert element_areas()[255 - code] == pytest.approx(area)  # inside and outside swapped


def test_area_of_a_box():
    """Faces 1 per corner point, edges and corners cut: 5 x 4 x 3 voxels."""
    codes = corner_codes(np.ones((5, 4, 3), bool))
    assert codes.shape == (6, 5, 4)
    faces = 2 * (4 * 3 + 4 * 2 + 3 * 2)
    edges = 4 * (4 + 3 + 2) * math.sqrt(0.5)
    assert element_areas()[codes].sum() == pytest.approx(faces + edges + 8 * CUT)


@pytest.mark.parametrize("shift", [(3, 0, 0), (0, -5, 0), (0, 0, 7), (3, -5, 7)])
def test_one_voxel_moved(shift):
    """Eight corners each; the farthest corner is as far as the voxel moved."""
    a = np.zeros((20, 21, 22), bool)
    a[8, 9, 10] = True
    b = np.roll(a, shift, (0, 1, 2))
    moved = np.abs(shift)
    farthest = np.linalg.norm(moved)
    # 95 % of the area needs the eighth corner: seven are 87.5 %.
    assert hd95_voxels(a, b) == pytest.approx(farthest)


def test_area_decides_the_percentile():
    """A plate of 20 x 20 and one voxel far from it: under 5 % of the area, so it does not count."""
    a = np.zeros((40, 24, 24), bool)
    a[2, 2:22, 2:22] = True
    b = a.copy()
    b[30, 10, 10] = True
    assert hd95_voxels(a, b) == 0
    b[30, 2:22, 2:22] = True
    assert hd95_voxels(a, b) == 28
    assert hd95_voxels(b, a) == 28


def test_spacing_plays_no_part_and_the_box_neither():
    a, b = np.zeros((2, 30, 30, 30), bool)
    a[10:14, 10:20, 5:9] = True
    b[12:18, 8:15, 6:9] = True
    assert hd95_voxels(a, b) == hd95_voxels(a[9:19, 7:21, 4:10], b[9:19, 7:21, 4:10])


def test_empty_is_infinite():
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    for pair in ((full, empty), (empty, full), (empty, empty)):
        assert hd95_voxels(*pair) == math.inf
