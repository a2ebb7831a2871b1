import numpy as np
import pytest
import SimpleITK as sitk
from core_checks import check_warp_direction
from core_reference import SHAPE, SHIFT, SPACING, smooth_displacement, smooth_noise
from scipy.spatial.transform import Rotation

from dinoreg.space.transform import Transform
from dinoreg.warp.apply import moving_positions, warp_image, warp_labels, warp_landmarks
from regtask.errors import SpaceError
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


def _itk_transform(field, affine, moving_affine):
    """Fixed voxel x to moving voxel x + u(x) as an ITK transform: millimetres along LPS axes."""
    at = np.moveaxis(np.indices(field.shape[:3]), 0, -1).astype(np.float64)
    places = [
        x @ (LPS @ a)[:3, :3].T + (LPS @ a)[:3, 3] for x, a in ((at, affine), (at + field, moving_affine))
    ]
    millimetres = places[1] - places[0]
    image = sitk.GetImageFromArray(millimetres.transpose(2, 1, 0, 3), isVector=True)
    return sitk.DisplacementFieldTransform(_place(image, affine))


def _resample(moving, moving_affine, field, interpolator, default, registered=None):
    image = _itk_image(moving, moving_affine)
    registered = FIXED.affine if registered is None else registered
    reference = _itk_image(np.zeros(SHAPE, np.float32), FIXED.affine)
    transform = _itk_transform(field, FIXED.affine, registered)
    warped = sitk.Resample(image, reference, transform, interpolator, default)
    return sitk.GetArrayFromImage(warped).transpose(2, 1, 0)


def _on_fixed(field):
    return Transform(field, FIXED, FIXED, "scanner")


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
    positions = moving_positions(_on_fixed(field), FIXED)
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
    positions = moving_positions(_on_fixed(field), Grid(shape, affine))
    found = warp_image(moving, positions)
    expected = _resample(moving, affine, field, sitk.sitkLinear, float(moving.min()))
    clear = _clear(positions, shape, 1e-3)
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-3)
    assert found.shape == SHAPE
    assert (found != moving.min()).mean() > 0.1


def _registered():
    """Another oblique grid of the fixed shape, its centre 4 to 9 mm from that of the fixed one."""
    affine = _oblique((1.3, 1.0, 2.2), (-12, 8, 21), (0, 0, 0))
    half = [(n - 1) / 2 for n in SHAPE]
    centre = np.add((FIXED.affine @ [*half, 1])[:3], (4, -6, 9))
    affine[:3, 3] = centre - affine[:3, :3] @ half
    return Grid(SHAPE, affine)


@pytest.mark.parametrize(
    ("shape", "flips"), [(SHAPE, (1, 1, 1)), (SHAPE, (-1, 1, -1)), ((31, 24, 27), (1, -1, 1))]
)
def test_displaced_voxels_are_voxels_of_the_registered_grid(shape, flips, rng):
    """Images of any grid, those of the field's shape among them, are read where the registered one lay."""
    registered = _registered()
    affine = _oblique((1.1, 1.6, 1.9), (10, 5, -25), (0, 0, 0), (0, 1, 2), flips)
    half = [(n - 1) / 2 for n in shape]
    affine[:3, 3] = (registered.affine @ [*((n - 1) / 2 for n in SHAPE), 1])[:3] - affine[:3, :3] @ half
    moving = smooth_noise(shape, rng)
    field = smooth_displacement(SHAPE, rng, 1.0).transpose(1, 2, 3, 0) + np.float32(SHIFT)
    positions = moving_positions(Transform(field, FIXED, registered, "scanner"), Grid(shape, affine))
    found = warp_image(moving, positions)
    background = float(moving.min())
    expected = _resample(moving, affine, field, sitk.sitkLinear, background, registered.affine)
    clear = _clear(positions, shape, 1e-3)
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-3)
    assert (found != moving.min()).mean() > 0.1


def test_a_mirrored_copy_with_a_true_header_gives_the_same_image(rng):
    moving, field = smooth_noise(SHAPE, rng), _field(rng)
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[0, 3] = SHAPE[0] - 1
    copy = Grid(SHAPE, FIXED.affine @ mirror)
    found = warp_image(np.ascontiguousarray(moving[::-1]), moving_positions(_on_fixed(field), copy))
    positions = moving_positions(_on_fixed(field), FIXED)
    clear = _clear(positions, SHAPE, 1e-3)
    np.testing.assert_allclose(found[clear], warp_image(moving, positions)[clear], atol=1e-3)


def test_voxel_to_voxel_ignores_the_header_and_refuses_another_shape(rng):
    field = _field(rng)
    transform = Transform(field, FIXED, FIXED, "voxel_to_voxel")
    other = Grid(SHAPE, np.diag([3.0, 2.0, 1.0, 1.0]))
    expected = np.indices(SHAPE) + np.moveaxis(field, -1, 0)
    np.testing.assert_allclose(moving_positions(transform, other), expected, atol=1e-5)
    with pytest.raises(SpaceError, match=r"another shape.*\(20, 26, 34\).*\(20, 26, 33\).*--moving"):
        moving_positions(transform, Grid((20, 26, 33), FIXED.affine))


def test_a_field_has_the_shape_of_its_grid(rng):
    with pytest.raises(SpaceError, match="field and grid differ"):
        Transform(_field(rng)[1:], FIXED, FIXED, "scanner")


@pytest.mark.parametrize("space", ["lps", "ras"])
def test_landmarks_in_millimetres_agree_with_simpleitk(space, rng):
    field, registered = _field(rng), _registered()
    transform = Transform(field, FIXED, registered, "scanner")
    reference = _itk_image(np.zeros(SHAPE, np.float32), FIXED.affine)
    other = _itk_image(np.zeros(SHAPE, np.float32), registered.affine)
    voxels = rng.integers((1, 1, 1), np.array(SHAPE) - 1, (8, 3))
    sign = np.array((1, 1, 1) if space == "lps" else (-1, -1, 1))
    given = np.array([reference.TransformIndexToPhysicalPoint(v.tolist()) for v in voxels]) * sign
    itk = _itk_transform(field, FIXED.affine, registered.affine)
    expected = np.array([itk.TransformPoint((p * sign).tolist()) for p in given]) * sign
    found = warp_landmarks(given, transform, space)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    indices = [other.TransformPhysicalPointToContinuousIndex((p * sign).tolist()) for p in found]
    np.testing.assert_allclose(indices, warp_landmarks(voxels, transform, "voxel"), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_labels_agree_with_simpleitk_and_gain_no_value(dtype, rng):
    labels = np.digitize(smooth_noise(SHAPE, rng), [-0.5, 0.3, 1.0]).astype(dtype)
    labels[labels == 2] = 7
    field = _field(rng)
    positions = moving_positions(_on_fixed(field), FIXED)
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
    warped = warp_labels(labels, moving_positions(_on_fixed(field), FIXED))
    assert np.argwhere(warped).tolist() == [[10, 12, 17]]
    assert warped[10, 12, 17] == 5


def test_outside_is_background():
    image = np.full(SHAPE, 3.0, np.float32)
    image[0, 0, 0] = -1000
    field = np.broadcast_to(np.array((3, 0, 0), np.float32), (*SHAPE, 3)).copy()
    positions = moving_positions(_on_fixed(field), FIXED)
    warped = warp_image(image, positions)
    np.testing.assert_array_equal(warped[17:], -1000)
    np.testing.assert_array_equal(warped[:17], 3)
    labels = np.full(SHAPE, 4, np.int16)
    np.testing.assert_array_equal(warp_labels(labels, positions)[17:], 0)
    np.testing.assert_array_equal(warp_labels(labels, positions)[:17], 4)


def test_the_identity_changes_nothing(rng):
    image, field = smooth_noise(SHAPE, rng), np.zeros((*SHAPE, 3), np.float32)
    positions = moving_positions(_on_fixed(field), FIXED)
    np.testing.assert_array_equal(warp_image(image, positions), image)
    labels = rng.integers(0, 9, SHAPE).astype(np.uint8)
    np.testing.assert_array_equal(warp_labels(labels, positions), labels)
    points = rng.uniform(0, 19, (5, 3))
    np.testing.assert_array_equal(warp_landmarks(points, _on_fixed(field), "voxel"), points)


@pytest.mark.parametrize("landmark", [(9.0, 12.0, 16.0), (10.4, 13.7, 14.2)])
def test_landmark_and_image_agree(landmark, rng):
    # A Gaussian blob of moving at p + u(p) lands at p of the warped image.
    field = _field(rng, amplitude=2.0)
    target = warp_landmarks(np.array([landmark]), _on_fixed(field), "voxel")[0]
    assert np.abs(target - landmark).max() > 1
    squares = [(x - t) ** 2 for x, t in zip(np.indices(SHAPE), target, strict=True)]
    blob = np.exp(-sum(squares) / (2 * 1.5**2)).astype(np.float32)
    warped = warp_image(blob, moving_positions(_on_fixed(field), FIXED)).astype(np.float64)
    weight = np.where(warped > 0.5, warped - 0.5, 0)
    centre = [(x * weight).sum() / weight.sum() for x in np.indices(SHAPE)]
    np.testing.assert_allclose(centre, landmark, atol=0.15)


def test_landmarks_by_interpolation_and_outside_by_the_border():
    field = np.zeros((*SHAPE, 3), np.float32)
    field[..., 0] = 0.1 * np.arange(20).reshape(-1, 1, 1)
    field[..., 2] = 2.0
    points = np.array([[4.5, 3.2, 7.9], [-3.0, 0.0, 0.0], [25.0, 30.0, 40.0]])
    expected = points + np.array([[0.45, 0, 2], [0, 0, 2], [1.9, 0, 2]])
    found = warp_landmarks(points, _on_fixed(field), "voxel")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_landmarks_stay_none(rng):
    transform = _on_fixed(_field(rng, amplitude=2.0))
    assert warp_landmarks(np.zeros((0, 3)), transform, "voxel").shape == (0, 3)
