import numpy as np
import pytest
from core_reference import SHAPE

from dinoreg.preprocess.foreground import content_box, threshold_foreground


def _sphere(centre, radius, shape=SHAPE):
    squares = [(x - c) ** 2 for x, c in zip(np.indices(shape), centre, strict=True)]
    return sum(squares) <= radius**2


BODY = _sphere((10, 13, 15), 8)
HOLE = _sphere((10, 12, 14), 3)
TABLE = _sphere((3, 3, 30), 2)


def _image(air, tissue):
    image = np.full(SHAPE, air, np.float32)
    image[BODY | TABLE] = tissue
    image[HOLE] = air
    return image


@pytest.mark.parametrize(("kind", "air", "tissue"), [("ct", -1000, 40), ("mr", 2, 300)])
def test_a_sphere_with_an_air_hole_is_whole_and_the_smaller_part_is_dropped(kind, air, tissue):
    assert not (BODY & TABLE).any()
    np.testing.assert_array_equal(threshold_foreground(_image(air, tissue), kind), BODY)


def test_fat_is_body_and_lung_is_not_by_itself():
    image = np.full(SHAPE, -1000, np.float32)
    image[BODY] = -100
    np.testing.assert_array_equal(threshold_foreground(image, "ct"), BODY)
    image[BODY] = -700
    np.testing.assert_array_equal(threshold_foreground(image, "ct"), True)  # nothing stands out


def test_a_hole_that_reaches_the_edge_of_the_field_of_view_is_filled():
    # A tube of body along the last axis, open at both ends, as lungs are in a short scan.
    image = np.full(SHAPE, -1000, np.float32)
    image[4:16, 5:20] = 30
    image[8:12, 9:15] = -900
    expected = np.zeros(SHAPE, bool)
    expected[4:16, 5:20] = True
    np.testing.assert_array_equal(threshold_foreground(image, "ct"), expected)


def test_a_single_slice():
    image = _image(-1000, 40)[:, :, 8:9]
    np.testing.assert_array_equal(threshold_foreground(image, "ct"), BODY[:, :, 8:9])


def test_mr_threshold_is_relative_to_the_range():
    # Lowest 100; the 97th percentile is 1100: body is above 100 + 0.05 * 1000 = 150.
    image = np.full(SHAPE, 100, np.float32)
    image[BODY] = 1100
    weak = _sphere((10, 13, 15), 8.9) & ~BODY
    image[weak] = 145
    np.testing.assert_array_equal(threshold_foreground(image, "mr"), BODY)
    image[weak] = 155
    np.testing.assert_array_equal(threshold_foreground(image, "mr"), BODY | weak)


def test_a_constant_mr_image_is_all_foreground():
    assert threshold_foreground(np.full((4, 5, 6), 3, np.float32), "mr").all()


@pytest.mark.parametrize(
    "box",
    [
        (slice(3, 15), slice(1, 20), slice(7, 31)),
        (slice(0, 20), slice(0, 1), slice(33, 34)),
        (slice(5, 6), slice(6, 7), slice(7, 8)),
    ],
)
@pytest.mark.parametrize("background", [0.0, -1000.0])
def test_content_box(box, background, rng):
    image = np.full(SHAPE, background, np.float32)
    image[box] = rng.uniform(1, 2, image[box].shape)
    # A box that fills an axis alone leaves its slices there; each has background or different values in it.
    assert content_box(image) == box


def test_content_box_of_a_constant_image_is_everything():
    assert content_box(np.full(SHAPE, 3.0, np.float32)) == (slice(0, 20), slice(0, 26), slice(0, 34))


def test_content_box_of_a_single_slice(rng):
    image = np.zeros((20, 26, 1), np.float32)
    image[3:7, 5:9] = rng.uniform(1, 2, (4, 4, 1))
    assert content_box(image) == (slice(3, 7), slice(5, 9), slice(0, 1))


def test_a_single_slice_keeps_what_is_outside_the_body_outside():
    # One voxel thick: holes filled in its other two planes, which are lines, would fill the image.
    image = np.full((20, 26, 1), -1000.0, np.float32)
    image[4:16, 5:20] = 30.0
    image[8:11, 9:12] = -900.0  # gas inside
    body = threshold_foreground(image, "ct")
    assert body[4:16, 5:20].all()
    assert body.sum() == 12 * 15
