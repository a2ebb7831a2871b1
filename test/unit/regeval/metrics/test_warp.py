"""Warping: direction, component order, borders, and SimpleITK as a second opinion."""

import numpy as np
import pytest
import SimpleITK as sitk

from regeval import warp_labels, warp_landmarks

SHIFT = (3, -5, 7)


def test_shift_brings_the_moving_labels_back(fixed_labels, moving_labels, shift_field):
    np.testing.assert_array_equal(warp_labels(moving_labels, shift_field), fixed_labels)


def test_labels_as_simpleitk_warps_them(moving_labels, smooth_field):
    # ITK wants (x, y, z) vectors in an image whose numpy view is (k, j, i).
    vectors = sitk.GetImageFromArray(smooth_field.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    transform = sitk.DisplacementFieldTransform(vectors)
    image = sitk.GetImageFromArray(moving_labels.transpose(2, 1, 0))
    warped = sitk.Resample(image, image, transform, sitk.sitkNearestNeighbor, 0)
    expected = sitk.GetArrayFromImage(warped).transpose(2, 1, 0)
    assert len(np.unique(expected)) == 4
    np.testing.assert_array_equal(warp_labels(moving_labels, smooth_field), expected)


def test_labels_outside_are_background():
    labels = np.full((4, 1, 1), 5, np.int16)
    field = np.zeros((4, 1, 1, 3), np.float32)
    field[:, 0, 0, 0] = (-1, 0.4, 0.6, 1)
    # Read at -1 (outside), 1.4 -> 1, 2.6 -> 3, 4 (outside).
    assert warp_labels(labels, field).ravel().tolist() == [0, 5, 5, 0]


def test_labels_keep_type_and_gain_no_value(moving_labels, smooth_field):
    moving_labels[moving_labels == 7] = 30000
    warped = warp_labels(moving_labels, smooth_field + np.float32(0.37))
    assert warped.dtype == np.int16
    assert set(np.unique(warped)) <= {0, 1, 2, 30000}


def test_landmarks_shift(shift_field):
    points = np.array([[4.5, 20.25, 3.0], [0, 29, 33]])
    np.testing.assert_allclose(warp_landmarks(points, shift_field), points + SHIFT)


def test_landmarks_interpolate_linearly():
    field = np.zeros((2, 2, 2, 3), np.float32)
    field[..., 1] = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]  # u_j = 4 i + 2 j + k
    found = warp_landmarks(np.array([[0.25, 0.5, 0.75]]), field)
    # 4 * 0.25 + 2 * 0.5 + 0.75 = 2.75, along j only
    np.testing.assert_allclose(found, [[0.25, 3.25, 0.75]])


def test_landmark_outside_moves_like_the_nearest_voxel():
    field = np.zeros((3, 3, 3, 3), np.float32)
    field[2, :, :, 2] = 4
    np.testing.assert_allclose(warp_landmarks(np.array([[2.5, 1, 1]]), field), [[2.5, 1, 5]])


def test_landmark_and_label_agree(smooth_field):
    """A voxel that is warped onto x comes from where the landmark x is sent."""
    x = np.array([[12, 14, 16]])
    found = np.rint(warp_landmarks(x.astype(float), smooth_field)).astype(int)[0]
    moving = np.zeros(smooth_field.shape[:3], np.int16)
    moving[tuple(found)] = 1
    assert warp_labels(moving, smooth_field)[12, 14, 16] == 1


@pytest.mark.parametrize("shape", [(5, 5, 5), (3, 5, 5, 5), (5, 5, 5, 2)])
def test_wrong_field_shape(shape):
    with pytest.raises(ValueError, match=r"\(I, J, K, 3\)"):
        warp_labels(np.zeros((5, 5, 5), np.int16), np.zeros(shape, np.float32))


def test_wrong_points_shape(smooth_field):
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        warp_landmarks(np.zeros(3), smooth_field)
