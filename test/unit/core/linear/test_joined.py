"""A pair keeps what was done to it, so that a displacement found on it leads back to the images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from core_reference import positions
from linear_scans import Body, oblique, rigid

from dinoreg.linear.joined import JoinedImages
from dinoreg.linear.maps import about_centre
from dinoreg.linear.move import in_voxels, read_through, scaling
from dinoreg.linear.way_back import WayBack
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame

SHAPE, SPACING = (30, 26, 14), (4.0, 5.0, 9.0)
TURN = rigid((4, -12, 10), (3, -5, 7))  # mm along the array axes
TURN_IN_VOXELS = in_voxels(TURN, scaling(SPACING))


def _moved_by(matrix):
    """(3, *SHAPE): where a map in voxels leads, less where it began."""
    at = positions(SHAPE)
    return np.einsum("ab,b...->a...", matrix[:3, :3], at) + matrix[:3, 3].reshape(3, 1, 1, 1) - at


def _joined(orientation="RAS"):
    image = Body().seen(SHAPE, oblique((0, 0, 0), SPACING, SHAPE))
    return JoinedImages(image, image, SPACING, orientation)


def test_an_image_read_through_a_map_leads_back_by_that_map():
    pair = _joined()
    turned = pair.through(TURN)
    read = read_through(pair.moving, TURN_IN_VOXELS)
    np.testing.assert_array_equal(turned.moving.values, read.values)
    assert turned.fixed is pair.fixed
    field = turned.way.as_field(torch.zeros(3, *SHAPE))
    assert field.shape == (*SHAPE, 3)
    np.testing.assert_allclose(np.moveaxis(field, -1, 0), _moved_by(TURN_IN_VOXELS), atol=1e-4)


def test_a_map_on_cubic_voxels_leads_back_by_one_of_the_image():
    """The map is in mm along the array axes: of the working grid R, A, S, of the image I, L, P."""
    pair = _joined("ILP").on_cubic_voxels(10**6)
    assert pair.orientation == "RAS"
    assert np.ptp(pair.spacing_mm) == 0
    shift = np.eye(4)
    shift[:3, 3] = (10.0, -20.0, 36.0)  # right, back, up
    field = pair.through(shift).way.as_field(torch.zeros(3, *SHAPE))
    # Down by -36 mm in voxels of 4, left by -10 in those of 5, back by 20 in those of 9.
    np.testing.assert_allclose(
        field.reshape(-1, 3), np.tile((-9.0, -2.0, 20 / 9), (field[..., 0].size, 1)), atol=1e-4
    )


MARGINS = ((2, 0), (1, 4), (3, 5))
WHOLE = (32, 31, 22)


def test_what_was_found_holds_in_the_margins_that_were_cut_off(rng):
    way = WayBack(margins=MARGINS)
    found = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    field = way.as_field(way.on_image(torch.from_numpy(found)))
    expected = np.pad(found, [(0, 0), *MARGINS], mode="edge")
    np.testing.assert_array_equal(np.moveaxis(field, -1, 0), expected)


@pytest.mark.parametrize("working", [False, True], ids=["as stored", "on cubic voxels"])
def test_a_map_leads_on_through_the_margins(working):
    """A place of the whole image lies so much further along as the margin before it is wide."""
    pair = _joined().on_cubic_voxels(10**6) if working else _joined()
    assert (pair.way.working is not None) == working
    from_the_cut = pair.through(TURN).way.linear
    way = replace(pair, way=replace(pair.way, margins=MARGINS)).through(TURN).way
    to_the_cut = np.eye(4)
    to_the_cut[:3, 3] = [-before for before, _ in MARGINS]
    whole = np.linalg.inv(to_the_cut) @ from_the_cut @ to_the_cut
    at = positions(WHOLE)
    expected = np.einsum("ab,b...->a...", whole[:3, :3], at) + whole[:3, 3].reshape(3, 1, 1, 1) - at
    field = way.as_field(way.on_image(torch.zeros(3, *pair.shape)))
    np.testing.assert_allclose(np.moveaxis(field, -1, 0), expected, atol=1e-3)


def test_voxels_that_are_cubic_already_stay():
    image = Body().seen((20, 20, 20), oblique((0, 0, 0), (5.0, 5.0, 5.0), (20, 20, 20)))
    pair = JoinedImages(image, image, (5.0, 5.0, 5.0))
    assert pair.on_cubic_voxels(10**6) is pair


def test_content_is_what_either_image_holds():
    image = _joined().fixed
    fixed = replace(image, content=(slice(3, 20), slice(7, 26), slice(0, 9)))
    moving = replace(image, content=(slice(5, 24), slice(2, 21), slice(4, 6)))
    assert JoinedImages(fixed, moving, SPACING).content == [slice(3, 24), slice(2, 26), slice(0, 9)]


def test_a_rotation_stays_one_where_lengths_count_voxels():
    pair = _joined()
    frame = Frame(SHAPE, (1.0, 1.0, 1.0), tuple((0, n) for n in SHAPE))
    vectors = torch.from_numpy(_moved_by(TURN_IN_VOXELS)).float()
    found = pair.nearest_map(Deformation(vectors, frame.voxels), frame)
    np.testing.assert_allclose(found, TURN, atol=1e-4)


def _half_shown(image, upto):
    """The same image of which only some planes are foreground."""
    kept = np.zeros(SHAPE, bool)
    kept[:, :, :upto] = True
    return replace(image, foreground=image.foreground & kept)


@pytest.mark.parametrize(("shown", "less"), [(5, True), (12, False)])
def test_moving_shows_less_where_it_shows_a_part(shown, less):
    pair = _joined()
    part = _half_shown(pair.moving, shown)
    assert replace(pair, moving=part).moving_shows_less == less
    assert not replace(pair, fixed=part).moving_shows_less


def test_what_is_smaller_but_longer_is_no_part():
    """A thin plate that reaches beyond the foreground of fixed."""
    pair = _joined()
    inner = np.zeros(SHAPE, bool)
    inner[8:22, 6:20, 3:11] = True
    plate = np.zeros(SHAPE, bool)
    plate[2:28, 2:24, 6:7] = True
    fixed, moving = (replace(pair.fixed, foreground=one) for one in (inner, plate))
    assert plate.sum() < 0.6 * inner.sum()
    assert not replace(pair, fixed=fixed, moving=moving).moving_shows_less
    within = replace(moving, foreground=plate & inner)
    assert replace(pair, fixed=fixed, moving=within).moving_shows_less


def test_images_without_foreground_show_no_part():
    pair = _joined()
    nothing = replace(pair.moving, foreground=np.zeros(SHAPE, bool))
    assert not replace(pair, fixed=nothing, moving=nothing).moving_shows_less


@pytest.mark.parametrize("degrees", [(0, 0, 0), (4, -12, 10), (0, 0, 100)])
def test_an_exchanged_pair_leads_back_by_the_inverse(degrees):
    """Sought is u from moving to fixed, which was turned by M: moving at M (x + u(x)) lies fixed."""
    centre = (np.array(SHAPE) - 1) / 2 * SPACING
    turn = about_centre(rigid(degrees, (0, 0, 0))[:3, :3], centre, centre + np.array([3.0, -5.0, 7.0]))
    pair = _joined().exchanged().through(turn)
    assert pair.way.linear is None
    at = positions(SHAPE)
    slope = np.array([[0.04, 0.02, 0.0], [0.0, -0.03, 0.05], [0.02, 0.0, 0.03]])
    u = np.einsum("ab,b...->a...", slope, at) + np.array([1.5, -2.0, 1.0]).reshape(3, 1, 1, 1)
    field = pair.way.as_field(pair.way.on_image(torch.from_numpy(u).float()))
    matrix = in_voxels(turn, scaling(SPACING))
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = np.eye(3) + slope, (1.5, -2.0, 1.0)
    expected = _moved_by(np.linalg.inv(matrix @ whole))
    # Where the way leads beyond the grid u is not linear any more.
    goal = at + expected
    before = np.einsum("ab,b...->a...", np.linalg.inv(matrix)[:3, :3], at)
    before += np.linalg.inv(matrix)[:3, 3].reshape(3, 1, 1, 1)
    inside = np.ones(SHAPE, bool)
    for places in (goal, before):
        for axis, n in enumerate(SHAPE):
            inside &= (places[axis] > 1) & (places[axis] < n - 2)
    assert inside.sum() > 500
    np.testing.assert_allclose(np.moveaxis(field, -1, 0)[:, inside], expected[:, inside], atol=0.06)
