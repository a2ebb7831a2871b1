"""HD95 by hand and against SimpleITK's distance maps, in true millimetres."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from regeval import hd95_mm

SPACING_MM = (2.0, 0.5, 1.25)


def block(shape, *ranges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def simpleitk_hd95(a, b, spacing_mm):
    """The recipe of SimpleITK's notebooks: label contours and signed Maurer distance maps."""
    images = [sitk.GetImageFromArray(mask.transpose(2, 1, 0).astype(np.uint8)) for mask in (a, b)]
    for image in images:
        image.SetSpacing(spacing_mm)
    contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
    values = []
    for start, goal in (contours, contours[::-1]):
        distances = sitk.SignedMaurerDistanceMap(goal, squaredDistance=False, useImageSpacing=True)
        distance = np.abs(sitk.GetArrayFromImage(distances))
        values.append(np.percentile(distance[sitk.GetArrayFromImage(start) > 0], 95))
    return max(values)


def blob(seed, shape=(24, 30, 26)):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    mask = noise > np.quantile(noise, 0.8)
    mask[[0, -1]] = mask[:, [0, -1]] = mask[:, :, [0, -1]] = False  # ITK's contour ignores the image border
    return mask


@pytest.mark.parametrize("seeds", [(1, 2), (5, 3), (8, 8)])
def test_as_simpleitk(seeds):
    a, b = blob(seeds[0]), blob(seeds[1])
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(simpleitk_hd95(a, b, SPACING_MM), abs=1e-5)


@pytest.mark.parametrize(("axis", "shift", "expected_mm"), [(0, 3, 6.0), (1, -5, 2.5), (2, 7, 8.75)])
def test_shifted_plate(axis, shift, expected_mm):
    """A plate one voxel thick, moved along its normal: every distance is |shift| * spacing of that axis."""
    ranges = [(4, 20)] * 3
    ranges[axis] = (10, 11)
    a = block((24, 24, 24), *ranges)
    b = np.roll(a, shift, axis)
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(expected_mm)


def test_percentile_by_hand():
    """Two points against one: distances a -> b are 0 and 10 mm, 95% of the way is 9.5; b -> a is 0."""
    a, b = np.zeros((2, 9, 3, 3), bool)
    a[2, 1, 1] = a[7, 1, 1] = b[2, 1, 1] = True
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(9.5)
    assert hd95_mm(b, a, SPACING_MM) == pytest.approx(9.5)


def test_interior_does_not_count():
    """A cube of 5 against its hull: the surfaces are the same voxels."""
    cube = block((9, 9, 9), (2, 7), (2, 7), (2, 7))
    hull = cube & ~block((9, 9, 9), (3, 6), (3, 6), (3, 6))
    inner = block((9, 9, 9), (4, 5), (4, 5), (4, 5))
    assert hd95_mm(cube, cube, SPACING_MM) == 0
    # The hull has an inner surface too, but those voxels are hull voxels: same surface set.
    assert hd95_mm(cube, hull, SPACING_MM) == 0
    # Cube to its centre: 98 surface voxels; the 95th percentile in voxels lies between the edges' sqrt(8)
    # (36 voxels at sqrt(8), 8 corners at sqrt(12) are the last 8 of 98, rank 0.95 * 97 = 92.15 is a corner).
    assert hd95_mm(cube, inner, (1, 1, 1)) == pytest.approx(math.sqrt(12))


def test_object_cut_by_the_image_border_has_a_surface_there():
    a = block((6, 12, 12), (0, 6), (4, 8), (4, 8))
    b = block((6, 12, 12), (2, 6), (4, 8), (4, 8))
    # a has an end face of 16 voxels at i = 0, 2 voxels from b's nearest; its last 5% lie there.
    assert hd95_mm(a, b, (3.0, 1.0, 1.0)) == pytest.approx(6.0)


def test_flat_image_is_measured_in_its_plane():
    """An axis of size 1 has no surface: the outline of a full square is that of a hollow one."""
    full = block((15, 15, 1), (4, 11), (4, 11), (0, 1))
    hollow = full & ~block((15, 15, 1), (5, 10), (5, 10), (0, 1))
    assert hd95_mm(full, hollow, (1, 1, 8)) == 0


def test_empty_is_infinite():
    full, empty = block((4, 4, 4), (1, 3), (1, 3), (1, 3)), np.zeros((4, 4, 4), bool)
    for pair in ((full, empty), (empty, full), (empty, empty)):
        assert hd95_mm(*pair, SPACING_MM) == math.inf


@pytest.mark.parametrize("spacing_mm", [(1, 1), (1, 0, 1), (1, -1, 1), (1, math.nan, 1)])
def test_wrong_spacing(spacing_mm):
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="spacing_mm"):
        hd95_mm(mask, mask, spacing_mm)


def test_shapes_differ():
    with pytest.raises(ValueError, match="one shape"):
        hd95_mm(np.ones((3, 3, 3), bool), np.ones((3, 3, 4), bool), SPACING_MM)
