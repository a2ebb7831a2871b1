import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dinoreg.linear.maps import (
    About,
    about_centre,
    angle_degrees,
    derivative,
    inverse,
    map_points,
    moved,
    nearest_map,
    rotation,
)
from regtask.errors import DataError

ABOUT = About(np.array([30.0, -50.0, 70.0]), 60.0)


def test_a_rotation_is_that_of_scipy(rng):
    for vector in (*rng.uniform(-3, 3, (5, 3)), np.zeros(3), np.array([1e-12, 0, 0])):
        np.testing.assert_allclose(rotation(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("degrees", [0.0, 0.5, 24.0, 120.0])
def test_the_angle_of_a_map_does_not_see_its_scale(degrees):
    linear = 1.2 * Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0, -0.8])).as_matrix()
    matrix = about_centre(linear, ABOUT.centre_mm, np.array([1.0, 2, 3]))
    assert angle_degrees(matrix) == pytest.approx(degrees, abs=1e-5)
    np.testing.assert_allclose(map_points(matrix, ABOUT.centre_mm[None]), [[1, 2, 3]])


def test_a_millimetre_of_a_parameter_moves_a_point_at_the_radius_by_one():
    point = ABOUT.centre_mm + np.array([0, ABOUT.radius_mm, 0])
    for number in (0, 3, 7):
        step = np.zeros(12)
        step[number] = 0.01
        there = map_points(moved(np.eye(4), step, ABOUT), point[None])[0]
        assert np.linalg.norm(there - point) == pytest.approx(0.01, rel=1e-3)


def test_parameters_go_first_and_the_start_last():
    start = about_centre(rotation((0.3, -0.2, 0.1)), np.zeros(3), np.array([5.0, -6, 7]))
    step = np.array([3.0, -5, 7, 0, 0, 0])
    np.testing.assert_allclose(
        map_points(moved(start, step, ABOUT), np.ones((1, 3))), map_points(start, np.array([[4.0, -4, 8]]))
    )


@pytest.mark.parametrize("count", [6, 12])
def test_the_derivative_is_that_of_small_steps(count, rng):
    start = about_centre(rotation((0.3, -0.2, 0.1)), np.zeros(3), np.array([5.0, -6, 7]))
    at, step = rng.uniform(-5, 5, count), 1e-3 * rng.standard_normal(count)
    change = moved(start, at + step, ABOUT) - moved(start, at - step, ABOUT)
    predicted = 2 * np.tensordot(step, derivative(start, at, ABOUT), axes=1)
    np.testing.assert_allclose(change, predicted, atol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_the_inverse_leads_back(scale):
    matrix = about_centre(scale * rotation((0.3, -0.2, 0.1)), ABOUT.centre_mm, np.array([3.0, -5, 7]))
    np.testing.assert_allclose(inverse(matrix) @ matrix, np.eye(4), atol=1e-9)


@pytest.mark.parametrize(
    "linear", [np.diag([1.0, 1, 0]), np.zeros((3, 3)), np.diag([1.0, 1, np.nan]), np.ones((3, 3))]
)
def test_a_map_that_squeezes_space_flat_has_no_inverse(linear):
    """Turned, it is flat up to rounding only."""
    matrix = about_centre(rotation((0.3, -0.2, 0.1)) @ linear, ABOUT.centre_mm, np.array([3.0, -5, 7]))
    with pytest.raises(DataError, match="without an inverse"):
        inverse(matrix)


def test_the_nearest_map_is_the_map_and_none_across_an_oblique_plane(rng):
    points = rng.uniform(-80, 80, (300, 3))
    matrix = about_centre(
        rotation((0.2, -0.3, 0.4)) * 1.1, np.array([3.0, -5.0, 7.0]), np.array([9.0, 1.0, -4.0])
    )
    np.testing.assert_allclose(nearest_map(points, map_points(matrix, points)), matrix, atol=1e-9)
    across = np.array([1.0, 2.0, -2.0]) / 3
    flat = points - (points @ across)[:, None] * across + 40 * across
    found = nearest_map(flat, map_points(matrix, flat))
    np.testing.assert_allclose(map_points(found, flat), map_points(matrix, flat), atol=1e-9)
    np.testing.assert_allclose(found[:3, :3] @ across, across, atol=1e-9)
