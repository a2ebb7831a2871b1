import numpy as np
import pytest
from linear_scans import FIXED_SHAPE, FIXED_TO_MM, Body, error_mm, oblique, pair, rigid

from dinoreg.linear.align import align
from dinoreg.linear.levels import Placed
from dinoreg.linear.maps import angle_degrees, map_points
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.stages import Linear
from regtask.errors import DataError

INVERTED = [lambda v: v, lambda v: 1.05 - v]


@pytest.mark.parametrize("contrast", INVERTED, ids=["alike", "inverted"])
@pytest.mark.parametrize(
    ("degrees", "shift"),
    [((3, -5, 7), (3, -5, 7)), ((-18, 25, -22), (38, -30, 22)), ((26, 9, 28), (-44, 25, -8))],
)
def test_a_known_rigid_map_is_found(degrees, shift, contrast):
    truth = rigid(degrees, shift)
    fixed, moving = pair(truth, contrast)
    found = align(fixed, moving, Linear())
    assert error_mm(found.matrix, truth, fixed) < 0.5
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-9)
    assert found.facts.information > found.facts.information_before
    assert found.facts.degrees == pytest.approx(angle_degrees(truth), abs=1)


def test_an_affine_is_found_with_its_scales():
    truth = rigid((4, -12, 10), (9, -8, 7))
    truth[:3, :3] = truth[:3, :3] @ np.array([[1.08, 0.03, 0], [0.03, 0.94, -0.02], [0, -0.02, 1.05]])
    fixed, moving = pair(truth)
    assert error_mm(align(fixed, moving, Linear()).matrix, truth, fixed) > 2
    assert error_mm(align(fixed, moving, Linear(model="affine")).matrix, truth, fixed) < 0.5


def test_a_start_is_climbed_from_however_far_it_lies():
    truth = rigid((0, 0, 170), (150, -160, 170))
    fixed, moving = pair(rigid((0, 0, 0), (0, 0, 0)))
    moved = Placed(moving.image, truth @ moving.to_mm)
    near = rigid((0, 0, 163), (146, -155, 173))
    assert error_mm(align(fixed, moved, Linear(), starts=[near]).matrix, truth, fixed) < 0.5


@pytest.mark.parametrize("swapped", [False, True], ids=["moving is small", "fixed is small"])
def test_a_small_part_of_a_body_finds_its_place(swapped):
    """It sees 9 % of the body: far less than the share of samples that has to lie inside."""
    body, shape = Body(), (18, 17, 16)
    truth = rigid((8, -6, 10), (-12, 9, 14))
    there = oblique((-6, 4, 7), (3.2, 2.9, 3.1), shape)
    whole = Placed(body.seen(FIXED_SHAPE, FIXED_TO_MM), FIXED_TO_MM)
    part = Placed(body.seen(shape, there, back=np.linalg.inv(truth)), there)
    assert part.image.values.size * abs(np.linalg.det(there[:3, :3])) < 0.25 * (
        whole.image.foreground.sum() * abs(np.linalg.det(FIXED_TO_MM[:3, :3]))
    )
    found = align(*((part, whole) if swapped else (whole, part)), Linear()).matrix
    centre = np.array([[0.0, 0, 0], [20, 0, 0], [0, 20, 0], [0, 0, 20]])
    there_mm = map_points(
        np.linalg.inv(found) if swapped else found, map_points(np.linalg.inv(truth), centre)
    )
    assert np.linalg.norm(there_mm - centre, axis=1).mean() < 1.0


def test_the_same_voxels_under_other_headers_give_the_same_map():
    truth = rigid((3, -5, 7), (3, -5, 7))
    fixed, moving = pair(truth)
    carried = rigid((0, 0, 0), (400, -300, 900))
    found = align(fixed, Placed(moving.image, carried @ moving.to_mm), Linear())
    assert error_mm(found.matrix, carried @ truth, fixed) < 0.5


def test_a_plane_is_refused():
    plane = PreparedImage(np.ones((8, 9, 1), np.float32), np.ones((8, 9, 1), bool), (slice(0, 8),) * 3)
    with pytest.raises(DataError, match="a plane cannot be turned in space"):
        align(Placed(plane, np.eye(4)), Placed(plane, np.eye(4)), Linear())


def test_images_without_contrast_inside_tell_nothing():
    cube = np.zeros((24, 24, 24), bool)
    cube[6:18, 7:19, 5:16] = True
    image = PreparedImage(np.zeros(cube.shape, np.float32), cube, (slice(6, 18), slice(7, 19), slice(5, 16)))
    placed = Placed(image, np.eye(4))
    with pytest.raises(DataError, match="tell nothing of one another"):
        align(placed, placed, Linear())
