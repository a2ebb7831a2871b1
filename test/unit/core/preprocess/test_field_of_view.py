"""What lies beyond a field of view goes on from it, and counts for nothing."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dinoreg.linear.move import read_through
from dinoreg.preprocess.field_of_view import continue_values
from dinoreg.preprocess.pair import Scan
from dinoreg.preprocess.prepare import on_working_grid, prepare_image, prepare_scan
from dinoreg.preprocess.together import bring_together
from dinoreg.settings.config import Preprocess
from dinoreg.space.working import working_grid
from regtask.grid import Grid

SHAPE = (17, 12, 21)
CONTINUED = Preprocess(foreground="none", beyond_view="continued")


@pytest.fixture
def image(rng):
    return rng.uniform(10, 90, SHAPE).astype(np.float32)


def cylinder():
    i, j, _ = np.indices(SHAPE)
    beyond = (i - 8.3) ** 2 + (j - 5.1) ** 2 > 4.6**2
    beyond[:, :, :3] = beyond[:, :, 16:] = True
    return beyond


def test_every_voxel_beyond_has_the_value_of_the_nearest_inside(image):
    beyond = cylinder()
    found = continue_values(image, beyond)
    inside = np.argwhere(~beyond)
    distance, _ = cKDTree(inside).query(np.argwhere(beyond))
    assert np.array_equal(found[~beyond], image[~beyond])
    for place, expected in zip(np.argwhere(beyond), distance, strict=True):
        same = inside[image[tuple(inside.T)] == found[tuple(place)]]
        # The values differ from one another, so that each tells where it came from.
        assert np.linalg.norm(same - place, axis=1).min() <= expected + 1.5


def test_beside_a_box_the_face_goes_straight_on(image):
    beyond = np.ones(SHAPE, bool)
    beyond[3:12, 5:12, 0:14] = False
    found = continue_values(image, beyond)
    assert np.array_equal(found[0, 5:12, :14], image[3, 5:12, :14])
    assert np.array_equal(found[3:12, 0, 3], image[3:12, 5, 3])
    assert np.array_equal(found[16, 2, 20], image[11, 5, 13])


def prepared(image, beyond, settings=CONTINUED, **more):
    return prepare_image(image, settings, modality="MR", mask=None, invalid=beyond, **more)


def test_it_is_no_foreground_and_not_part_of_the_box(image):
    beyond = cylinder()
    found = prepared(image, beyond)
    blank = prepared(image, beyond, Preprocess(foreground="none"))
    assert np.array_equal(found.foreground, ~beyond)
    assert np.array_equal(found.beyond, beyond)
    assert not blank.values[beyond].any()
    assert blank.beyond is None
    assert found.content == blank.content
    assert np.array_equal(found.values, continue_values(blank.values, beyond))


def test_features_of_the_two_are_not_mistaken_for_one_another(image):
    beyond = cylinder()
    names = {
        prepared(image, beyond, s, comes_again=True).identity
        for s in (CONTINUED, Preprocess(foreground="none"))
    }
    assert len(names) == 2


def test_it_goes_on_on_the_working_grid(image):
    beyond = cylinder()
    grid = working_grid(SHAPE, (1.0, 2.0, 1.5), "PIR", max_voxels=10**6)
    found = on_working_grid(prepared(image, beyond), grid)
    assert found.values.shape == grid.shape
    assert found.beyond.any()
    assert not (found.beyond & found.foreground).any()
    assert found.values.min() > 0


def test_a_map_leads_beyond_and_finds_no_edge():
    steps = np.full(SHAPE, 50, np.float32)
    steps[:6] = 20
    image, shifted = prepared(steps, None), np.eye(4)
    shifted[:3, 3] = (3, -5, 7)
    found = read_through(image, shifted)
    assert np.allclose(found.values[3:], image.values[-1, 0, 0])
    assert np.allclose(found.values[:3], image.values[0, 0, 0])
    assert not found.foreground[-3:].any()
    assert not found.foreground[:, :5].any()
    assert found.foreground[:-3, 5:, :-7].all()
    assert np.array_equal(found.beyond, ~found.foreground)
    assert read_through(prepared(steps, None, Preprocess(foreground="none")), shifted).beyond is None


def test_beside_a_scan_that_is_read_on_another_grid_nothing_is_known(image):
    fixed = Scan(image, Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0])), "MR")
    placed = np.eye(4)
    placed[:3, 3] = (6.0, -2.0, 4.0)
    moving = Scan(image[:8, :9, :10], Grid((8, 9, 10), placed), "MR")
    both = bring_together(fixed, moving).pair
    known = np.zeros(SHAPE, bool)
    known[6:14, :7, 4:14] = True
    assert both.fixed.beside is None
    assert np.array_equal(both.moving.beside, ~known)
    assert not prepare_scan(both.moving, CONTINUED).foreground[~known].any()


def test_a_margin_around_fixed_has_no_values(image):
    fixed = Scan(image[:8, :9, :10], Grid((8, 9, 10), np.eye(4)), "MR")
    far = np.diag([4.0, 4.0, 4.0, 1.0])
    far[:3, 3] = (-20.0, 2.0, 1.0)
    both = bring_together(fixed, Scan(image, Grid(SHAPE, far), "MR"))
    inside = np.zeros(both.pair.fixed.values.shape, bool)
    inside[tuple(slice(m, m + n) for m, n in zip(both.margin, (8, 9, 10), strict=True))] = True
    assert both.margin[0] > 0
    assert not inside.all()
    assert np.array_equal(both.pair.fixed.beside, ~inside)


@pytest.mark.parametrize("offset", [0.5, -1.0, 2.0])
def test_a_single_slice_is_as_thick_as_it_is(image, offset):
    there = np.diag([1.0, 1.0, 5.0, 1.0])
    there[2, 3] = offset
    slices = [
        Scan(image[:, :, 4:5], Grid((17, 12, 1), grid), "MR") for grid in (np.diag([1, 1, 5.0, 1]), there)
    ]
    both = bring_together(*slices).pair
    assert both.moving.beside is None
    assert prepare_scan(both.moving, CONTINUED).foreground.all()
