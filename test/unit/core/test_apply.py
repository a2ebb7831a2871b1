import numpy as np
import pytest
import SimpleITK as sitk
from core_checks import check_warp_direction
from core_reference import SHAPE, SHIFT, SPACING, smooth_displacement, smooth_noise
from scipy.spatial.transform import Rotation

from dinoreg.apply import moving_positions, warp_image, warp_labels, warp_landmarks
from regtask.grid import Grid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _oblique(spacing, angles, origin, permutation=(0, 1, 2), flips=(1, 1, 1)):
    """RAS affine of an oblique, anisotropic, optionally permuted and flipped lattice."""
    axes = np.eye(3)[:, list(permutation)] * flips
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ axes * spacing
    affine[:3, 3] = origin
    return affine


FIXED = Grid(SHAPE, _oblique(SPACING, (20, -15, 35), (-30.0, 12.0, 55.0)))


def _place(image, affine):
    """Set the geometry of an ITK image from a RAS affine, worked out here: LPS, unit axes, spacing."""
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def _itk_image(array, affine):
    return _place(sitk.GetImageFromArray(array.transpose(2, 1, 0)), affine)


def _itk_transform(field, affine):
    """Displacements in voxels (I, J, K, 3) as an ITK transform: millimetres along LPS axes."""
    millimetres = field.astype(np.float64) @ (LPS @ affine)[:3, :3].T
    image = sitk.GetImageFromArray(millimetres.transpose(2, 1, 0, 3), isVector=True)
    return sitk.DisplacementFieldTransform(_place(image, affine))


def _resample(moving, moving_affine, field, interpolator, default):
    image = _itk_image(moving, moving_affine)
    reference = _itk_image(np.zeros(SHAPE, np.float32), FIXED.affine)
    transform = _itk_transform(field, FIXED.affine)
    warped = sitk.Resample(image, reference, transform, interpolator, default)
    return sitk.GetArrayFromImage(warped).transpose(2, 1, 0)


def _field(rng, amplitude=4.0):
    """A smooth field with the shift (1, -2, 3) on top, (I, J, K, 3)."""
    smooth = np.moveaxis(smooth_displacement(SHAPE, rng, amplitude), 0, -1)
    return np.ascontiguousarray(smooth + np.array([1, -2, 3], dtype=np.float32))


def _clear(positions, shape, margin):
    """Positions at least `margin` voxels away from the edge of the field of view, on either side of it."""
    p = positions.numpy()
    sizes = np.reshape(shape, (3, 1, 1, 1))
    return ((np.abs(p + 0.5) > margin) & (np.abs(p - sizes + 0.5) > margin)).all(axis=0)


def test_image_agrees_with_simpleitk_on_an_oblique_grid(rng):
    moving, field = smooth_noise(SHAPE, rng), _field(rng)
    positions = moving_positions(field, FIXED, FIXED)
    found = warp_image(moving, positions)
    expected = _resample(moving, FIXED.affine, field, sitk.sitkLinear, float(moving.min()))
    clear = _clear(positions, SHAPE, 1e-3)
    assert found.dtype == np.float32
    assert clear.mean() > 0.99
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-3)
    outside = found == moving.min()
    assert 0.02 < outside.mean() < 0.9


@pytest.mark.parametrize(
    ("permutation", "flips"), [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, 1)), ((1, 0, 2), (1, -1, -1))]
)
def test_image_of_another_grid_is_reached_through_scanner_space(permutation, flips, rng):
    shape = (31, 24, 27)
    spacing = np.array([1.1, 1.9, 1.4])
    affine = _oblique(spacing, (-10, 25, 15), (0, 0, 0), permutation, flips)
    # Its centre on the centre of the fixed grid.
    centre = FIXED.affine @ [*((n - 1) / 2 for n in SHAPE), 1]
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ [(n - 1) / 2 for n in shape]
    moving, field = smooth_noise(shape, rng), _field(rng)
    positions = moving_positions(field, FIXED, Grid(shape, affine))
    found = warp_image(moving, positions)
    expected = _resample(moving, affine, field, sitk.sitkLinear, float(moving.min()))
    clear = _clear(positions, shape, 1e-3)
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-3)
    assert found.shape == SHAPE
    assert (found != moving.min()).mean() > 0.1


def test_an_image_of_the_same_shape_is_read_voxel_to_voxel_whatever_its_affine(rng):
    field = _field(rng)
    other = Grid(SHAPE, np.diag([3.0, 2.0, 1.0, 1.0]))
    assert np.array_equal(moving_positions(field, FIXED, other), moving_positions(field, FIXED, FIXED))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_labels_agree_with_simpleitk_and_gain_no_value(dtype, rng):
    labels = np.digitize(smooth_noise(SHAPE, rng), [-0.5, 0.3, 1.0]).astype(dtype)
    labels[labels == 2] = 7
    field = _field(rng)
    positions = moving_positions(field, FIXED, FIXED)
    found = warp_labels(labels, positions)
    expected = _resample(labels, FIXED.affine, field, sitk.sitkNearestNeighbor, 0)
    fraction = np.abs(positions.numpy() % 1 - 0.5).min(axis=0)  # between two voxels either is right
    clear = (fraction > 1e-3) & _clear(positions, SHAPE, 1e-3)
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert found.dtype == dtype
    assert set(np.unique(found)) <= set(np.unique(labels)) | {0}
    assert 7 in found


def test_direction_by_hand():
    check_warp_direction()


def test_labels_move_as_the_image_does():
    labels = np.zeros(SHAPE, np.uint8)
    labels[13, 7, 24] = 5
    field = np.broadcast_to(np.array(SHIFT, np.float32), (*SHAPE, 3)).copy()
    warped = warp_labels(labels, moving_positions(field, FIXED, FIXED))
    assert np.argwhere(warped).tolist() == [[10, 12, 17]]
    assert warped[10, 12, 17] == 5


def test_outside_is_background():
    image = np.full(SHAPE, 3.0, np.float32)
    image[0, 0, 0] = -1000
    field = np.broadcast_to(np.array((3, 0, 0), np.float32), (*SHAPE, 3)).copy()
    positions = moving_positions(field, FIXED, FIXED)
    warped = warp_image(image, positions)
    np.testing.assert_array_equal(warped[17:], -1000)
    np.testing.assert_array_equal(warped[:17], 3)
    labels = np.full(SHAPE, 4, np.int16)
    np.testing.assert_array_equal(warp_labels(labels, positions)[17:], 0)
    np.testing.assert_array_equal(warp_labels(labels, positions)[:17], 4)


def test_the_identity_changes_nothing(rng):
    image, field = smooth_noise(SHAPE, rng), np.zeros((*SHAPE, 3), np.float32)
    positions = moving_positions(field, FIXED, FIXED)
    np.testing.assert_array_equal(warp_image(image, positions), image)
    labels = rng.integers(0, 9, SHAPE).astype(np.uint8)
    np.testing.assert_array_equal(warp_labels(labels, positions), labels)
    points = rng.uniform(0, 19, (5, 3))
    np.testing.assert_array_equal(warp_landmarks(points, field), points)


@pytest.mark.parametrize("landmark", [(9.0, 12.0, 16.0), (10.4, 13.7, 14.2)])
def test_landmark_and_image_agree(landmark, rng):
    # A Gaussian blob of moving at p + u(p) lands at p of the warped image.
    field = _field(rng, amplitude=2.0)
    target = warp_landmarks(np.array([landmark]), field)[0]
    assert np.abs(target - landmark).max() > 1
    squares = [(x - t) ** 2 for x, t in zip(np.indices(SHAPE), target, strict=True)]
    blob = np.exp(-sum(squares) / (2 * 1.5**2)).astype(np.float32)
    warped = warp_image(blob, moving_positions(field, FIXED, FIXED)).astype(np.float64)
    weight = np.where(warped > 0.5, warped - 0.5, 0)
    centre = [(x * weight).sum() / weight.sum() for x in np.indices(SHAPE)]
    np.testing.assert_allclose(centre, landmark, atol=0.15)


def test_landmarks_by_interpolation_and_outside_by_the_border():
    field = np.zeros((*SHAPE, 3), np.float32)
    field[..., 0] = 0.1 * np.arange(20).reshape(-1, 1, 1)
    field[..., 2] = 2.0
    points = np.array([[4.5, 3.2, 7.9], [-3.0, 0.0, 0.0], [25.0, 30.0, 40.0]])
    expected = points + np.array([[0.45, 0, 2], [0, 0, 2], [1.9, 0, 2]])
    found = warp_landmarks(points, field)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_landmarks_stay_none(rng):
    assert warp_landmarks(np.zeros((0, 3)), _field(rng, amplitude=2.0)).shape == (0, 3)
