"""Target registration error by hand, with a voxel size that differs along each axis."""

import numpy as np
import pytest

from regeval import tre_mm

SPACING_MM = (2.0, 0.5, 1.25)


def test_identity_by_hand():
    fixed, moving = np.array([[1.0, 2, 3], [4, 4, 4]]), np.array([[4.0, 10, 3], [4, 4, 8]])
    # (3, 8, 0) * spacing = (6, 4, 0): sqrt(52); (0, 0, 4) * spacing = (0, 0, 5): 5
    np.testing.assert_allclose(tre_mm(fixed, moving, None, SPACING_MM), [np.sqrt(52), 5])


def test_right_field_leaves_nothing_and_wrong_sign_doubles(shift_field):
    fixed = np.array([[8.0, 12, 11], [13.5, 20.25, 9]])
    moving = fixed + np.array((3, -5, 7))
    np.testing.assert_allclose(tre_mm(fixed, moving, shift_field, SPACING_MM), 0, atol=1e-6)
    before = tre_mm(fixed, moving, None, SPACING_MM)
    np.testing.assert_allclose(tre_mm(fixed, moving, -shift_field, SPACING_MM), 2 * before)


def test_points_do_not_correspond():
    with pytest.raises(ValueError, match="as many points"):
        tre_mm(np.zeros((3, 3)), np.zeros((2, 3)), None, SPACING_MM)


@pytest.mark.parametrize("spacing_mm", [(1, 1), (1, 0, 1), (1, np.nan, 1)])
def test_wrong_spacing(spacing_mm):
    with pytest.raises(ValueError, match="spacing_mm"):
        tre_mm(np.zeros((1, 3)), np.zeros((1, 3)), None, spacing_mm)
