import numpy as np
import pytest
from linear_scans import FIXED_SHAPE, Body, rigid

from dinoreg.linear.evidence import find_rotation
from dinoreg.settings.stages import Linear

SPACING = (3.0, 3.4, 5.0)
TO_MM = np.diag([*SPACING, 1.0])
CENTRED = TO_MM.copy()
CENTRED[:3, 3] = -np.array(SPACING) * (np.array(FIXED_SHAPE) - 1) / 2
SETTINGS = Linear(when="evidence")


def scans(degrees, shift, seed=3):
    """Fixed, and moving turned about the centre of the image; and the map in mm along the array axes."""
    centred = rigid(degrees, shift)
    body = Body()
    fixed = body.seen(FIXED_SHAPE, CENTRED)
    moving = Body(seed).seen(FIXED_SHAPE, CENTRED, np.linalg.inv(centred))
    to_centre = CENTRED @ np.linalg.inv(TO_MM)
    return fixed, moving, np.linalg.inv(to_centre) @ centred @ to_centre


@pytest.mark.parametrize("degrees", [(0, 0, 22), (-14, 12, 9)])
def test_a_rotation_that_explains_the_images_is_taken(degrees):
    fixed, moving, truth = scans(degrees, (3, -5, 7))
    found = find_rotation(fixed, moving, SPACING, np.eye(4), SETTINGS)
    assert found.facts.taken
    assert found.facts.residual[1] < 0.9 * found.facts.residual[0]
    centre = np.array(SPACING) * (np.array(FIXED_SHAPE) - 1) / 2
    corners = centre + 40 * np.array([[1, 1, 1], [-1, 1, -1], [1, -1, 1]])
    there = [corners @ m[:3, :3].T + m[:3, 3] for m in (found.matrix, truth)]
    np.testing.assert_allclose(*there, atol=5.0)


@pytest.mark.parametrize(("degrees", "seed"), [((0, 0, 0), 3), ((3, -4, 2), 3), ((0, 0, 0), 8)])
def test_images_that_need_no_rotation_stay_as_they_are(degrees, seed):
    """The same body, hardly turned; and two bodies whose outline alone is the same."""
    fixed, moving, _ = scans(degrees, (3, -5, 7), seed)
    found = find_rotation(fixed, moving, SPACING, np.eye(4), SETTINGS)
    assert found.matrix is None
    assert not found.facts.taken


def test_a_start_that_turned_already_needs_no_rotation():
    fixed, moving, truth = scans((0, 0, 22), (3, -5, 7))
    assert find_rotation(fixed, moving, SPACING, truth, SETTINGS).matrix is None


def test_planes_are_left_alone():
    fixed, _, _ = scans((0, 0, 0), (0, 0, 0))
    plane = type(fixed)(fixed.values[..., :1], fixed.foreground[..., :1], fixed.content)
    assert find_rotation(plane, plane, SPACING, np.eye(4), SETTINGS).matrix is None


def test_a_start_that_cannot_be_judged_is_no_evidence_for_a_rotation():
    """It leads so far that nothing is in common; the facts have to be JSON all the same."""
    fixed, moving, _ = scans((0, 0, 22), (3, -5, 7))
    nowhere = np.eye(4)
    nowhere[:3, 3] = 400.0
    found = find_rotation(fixed, moving, SPACING, nowhere, SETTINGS)
    assert found.matrix is None
    assert not found.facts.taken
    assert found.facts.residual is None


@pytest.mark.parametrize("settings", [{"least_gain": 0.9}, {"least_degrees": 45.0}, {"min_overlap": 0.999}])
def test_more_can_be_asked_of_a_rotation(settings):
    fixed, moving, _ = scans((0, 0, 22), (3, -5, 7))
    assert (
        find_rotation(fixed, moving, SPACING, np.eye(4), Linear(when="evidence", **settings)).matrix is None
    )
