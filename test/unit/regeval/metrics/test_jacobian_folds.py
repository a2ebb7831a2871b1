"""Jacobian determinants of known maps, against SimpleITK, and folds that must be seen."""

import numpy as np
import pytest
import SimpleITK as sitk

from regeval import folding_fraction, jacobian_determinant, sd_log_jacobian


def affine_field(matrix, shape=(9, 8, 7)):
    grid = np.moveaxis(np.indices(shape), 0, -1).astype(float)
    return (grid @ (matrix - np.eye(3)).T).astype(np.float32)


def test_affine_map_has_the_determinant_of_its_matrix():
    matrix = np.array([[1.2, 0.3, -0.1], [0.05, 0.8, 0.4], [0.2, -0.15, 1.1]])
    determinant = jacobian_determinant(affine_field(matrix))
    np.testing.assert_allclose(determinant, np.linalg.det(matrix), atol=1e-5)
    assert sd_log_jacobian(affine_field(matrix)) == pytest.approx(0, abs=1e-5)


def test_as_simpleitk(smooth_field):
    vectors = sitk.GetImageFromArray(smooth_field.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(vectors)).transpose(2, 1, 0)
    inner = (slice(1, -1),) * 3  # at the border ITK repeats the outermost voxel
    np.testing.assert_allclose(jacobian_determinant(smooth_field)[inner], theirs[inner], atol=1e-6)
    assert theirs[inner].std() > 0.05


def test_spacing_cancels(smooth_field):
    """In millimetres, with vectors and gradients scaled by the spacing, the determinant is the same."""
    spacing_mm = np.array([2.0, 0.5, 1.25])
    vectors = sitk.GetImageFromArray(
        (smooth_field * spacing_mm).transpose(2, 1, 0, 3).astype(np.float64), isVector=True
    )
    vectors.SetSpacing(spacing_mm.tolist())
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(vectors)).transpose(2, 1, 0)
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(jacobian_determinant(smooth_field)[inner], theirs[inner], atol=1e-5)


def test_folds_by_hand():
    """Positions 0 1 2 2.5 2 4 5 6 along i; central differences 1 1 .75 0 .75 1.5 1 1: one fold in eight."""
    positions = np.array([0, 1, 2, 2.5, 2, 4, 5, 6])
    field = np.zeros((8, 2, 3, 3), np.float32)
    field[..., 0] = (positions - np.arange(8))[:, None, None]
    expected = [1, 1, 0.75, 0, 0.75, 1.5, 1, 1]
    np.testing.assert_allclose(jacobian_determinant(field)[:, 0, 0], expected)
    assert folding_fraction(field) == 1 / 8
    # log of the same, 0 replaced by 1e-9: -20.723
    assert sd_log_jacobian(field) == pytest.approx(np.std(np.log(np.maximum(expected, 1e-9))))


def test_reflection_is_all_folds():
    """The case in which the official evaluator counts none."""
    assert folding_fraction(affine_field(np.diag([-1.0, 1, 1]))) == 1


def test_mask_chooses_the_voxels():
    field = affine_field(np.diag([-1.0, 1, 1]), (8, 8, 8))
    field[:4] = 0
    mask = np.zeros((8, 8, 8), bool)
    mask[:3] = True
    assert folding_fraction(field, mask) == 0
    assert sd_log_jacobian(field, mask) == 0
    # u is 0 up to i = 3 and -2 i after: the central difference at i = 3 sees -8 / 2 and folds as well.
    assert folding_fraction(field) == 5 / 8


def test_singleton_axis_has_no_gradient():
    field = np.zeros((6, 5, 1, 3), np.float32)
    field[..., 0] = 0.5 * np.arange(6)[:, None, None]
    field[..., 2] = np.arange(5)[None, :, None]
    np.testing.assert_allclose(jacobian_determinant(field), 1.5)


def test_translation(shift_field):
    assert (jacobian_determinant(shift_field) == 1).all()
    assert sd_log_jacobian(shift_field) == 0


@pytest.mark.parametrize("mask", [np.ones((2, 2, 2), bool), np.zeros((4, 4, 4), bool)])
def test_unusable_mask(mask):
    with pytest.raises(ValueError, match="mask"):
        folding_fraction(np.zeros((4, 4, 4, 3), np.float32), mask)


def test_channel_first_is_refused():
    with pytest.raises(ValueError, match=r"\(I, J, K, 3\)"):
        jacobian_determinant(np.zeros((3, 5, 5, 5), np.float32))
