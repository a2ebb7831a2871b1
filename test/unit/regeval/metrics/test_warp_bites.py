"""The checks of the evaluation's own warp fail on broken code."""

import numpy as np
import pytest
import SimpleITK as sitk

from regeval.metrics import warp

SHAPE, SHIFT = (26, 30, 34), (3, -5, 7)


def _moved_boxes():
    """Labels, and the same SHIFT further."""
    fixed = np.zeros(SHAPE, np.int16)
    fixed[8:14, 10:20, 9:16], fixed[15:18, 12:15, 10:20], fixed[6, 12, 15] = 1, 2, 7
    return fixed, np.roll(fixed, SHIFT, (0, 1, 2))


def _uneven_field():
    """Components of other period and size, no folds."""
    i, j, k = np.indices(SHAPE) / 6
    return np.stack(
        [1.5 * np.sin(j) + 0.6 * np.cos(k), 0.9 * np.sin(k) - 1.1 * np.cos(i), 0.8 * np.sin(i + j)], -1
    ).astype(np.float32)


def check_shift():
    fixed, moving = _moved_boxes()
    field = np.broadcast_to(np.float32(SHIFT), (*SHAPE, 3))
    np.testing.assert_array_equal(warp.warp_labels(moving, field), fixed)
    points = np.array([[8.0, 10.5, 9.0]])
    np.testing.assert_allclose(warp.warp_landmarks(points, field), points + SHIFT)


def check_as_simpleitk():
    _, moving = _moved_boxes()
    field = _uneven_field()
    vectors = sitk.GetImageFromArray(field.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    image = sitk.GetImageFromArray(moving.transpose(2, 1, 0))
    transform = sitk.DisplacementFieldTransform(vectors)
    warped = sitk.Resample(image, image, transform, sitk.sitkNearestNeighbor, 0)
    expected = sitk.GetArrayFromImage(warped).transpose(2, 1, 0)
    np.testing.assert_array_equal(warp.warp_labels(moving, field), expected)


def check_landmarks_as_simpleitk(interpolation="linear"):
    field = _uneven_field()
    points = np.random.default_rng(5).uniform(4, 20, (20, 3))
    vectors = sitk.GetImageFromArray(field.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    transform = sitk.DisplacementFieldTransform(vectors)
    expected = [transform.TransformPoint(point) for point in points.tolist()]
    found = warp.warp_landmarks(points, field, interpolation)
    # Cubic splines and linear interpolation differ by less than this on so smooth a field.
    np.testing.assert_allclose(found, expected, atol=1e-4 if interpolation == "linear" else 0.03)


def check_outside():
    field = np.zeros((4, 1, 1, 3), np.float32)
    field[:, 0, 0, 0] = (-1, 0.4, 0.6, 1)
    assert warp.warp_labels(np.full((4, 1, 1), 5, np.int16), field).ravel().tolist() == [0, 5, 5, 0]


def _push(patch):
    """Read at x - u(x)."""
    right_labels, right_points = warp.warp_labels, warp.warp_landmarks
    patch.setattr(warp, "warp_labels", lambda labels, field, *rest: right_labels(labels, -field, *rest))
    patch.setattr(warp, "warp_landmarks", lambda points, field, *rest: right_points(points, -field, *rest))


def _reverse_components(patch):
    """Component 0 moves along the last axis."""
    right_labels, right_points = warp.warp_labels, warp.warp_landmarks
    patch.setattr(warp, "warp_labels", lambda lab, f, *rest: right_labels(lab, f[..., ::-1], *rest))
    patch.setattr(warp, "warp_landmarks", lambda p, f, *rest: right_points(p, f[..., ::-1], *rest))


def _half_a_voxel(patch):
    """Voxel centres lie on the corners of voxels; landmarks too."""
    right, right_splines = warp._coordinates, warp.cubic_at
    right_linear = warp.map_coordinates
    patch.setattr(warp, "_coordinates", lambda *args: right(*args) + 0.5)
    patch.setattr(warp, "map_coordinates", lambda v, at, **k: right_linear(v, at + 0.5, **k))
    patch.setattr(warp, "cubic_at", lambda field, points: right_splines(field, points + 0.5))


def _clamp_outside(patch):
    """Outside the image is its border."""
    right = warp._coordinates
    patch.setattr(
        warp,
        "_coordinates",
        lambda start, stop, shape, axis: (
            np.clip(right(start, stop, shape, axis), 1, shape[axis] - 2)
            if shape[axis] > 1
            else right(start, stop, shape, axis)
        ),
    )


def _read_points_transposed(patch):
    """A point's displacement is read at (k, j, i)."""
    right, right_splines = warp.map_coordinates, warp.cubic_at
    patch.setattr(warp, "map_coordinates", lambda v, at, **k: right(v, at[::-1], **k))
    patch.setattr(warp, "cubic_at", lambda field, points: right_splines(field, points[:, ::-1]))


CHECKS = {
    "shift": check_shift,
    "labels as SimpleITK": check_as_simpleitk,
    "landmarks as SimpleITK": check_landmarks_as_simpleitk,
    "landmarks by splines": lambda: check_landmarks_as_simpleitk("official"),
    "outside": check_outside,
}
LANDMARKS = ["landmarks as SimpleITK", "landmarks by splines"]

BITES = [
    (_push, ["shift", "labels as SimpleITK", *LANDMARKS, "outside"]),
    (_reverse_components, ["shift", "labels as SimpleITK", *LANDMARKS]),
    (_half_a_voxel, ["labels as SimpleITK", *LANDMARKS]),
    (_clamp_outside, ["outside"]),
    (_read_points_transposed, LANDMARKS),
]


@pytest.mark.parametrize("name", CHECKS)
def test_sound_code_passes(name):
    CHECKS[name]()


@pytest.mark.parametrize(
    ("mutate", "name"), [(m, n) for m, names in BITES for n in names], ids=lambda v: getattr(v, "__name__", v)
)
def test_broken_code_fails(mutate, name, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        CHECKS[name]()
