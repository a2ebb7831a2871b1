import numpy as np
import pytest

from dinoreg.preprocess.foreground import ct_body, threshold_foreground
from dinoreg.preprocess.measured import measured_voxels
from dinoreg.preprocess.tissue import brightness_of_tissues, find_hu_scale, shows_lung

SHAPE = (40, 36, 24)


@pytest.fixture
def chest(rng):
    """A trunk with two lungs in air, HU with noise."""
    i, j, _ = np.indices(SHAPE)
    hu = np.full(SHAPE, -1000.0)
    hu[((i - 20) / 17) ** 2 + ((j - 18) / 14) ** 2 < 1] = 45.0
    for centre in (12, 28):
        hu[((i - centre) / 6) ** 2 + ((j - 18) / 9) ** 2 < 1] = -820.0
    hu[18:22, 28:31] = 700.0
    return (hu + rng.normal(0, 12, SHAPE)).astype(np.float32)


@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (1, 1024), (1, 1000), (0.5, 300), (1.3, 100)])
def test_the_scale_of_a_ct_is_found(chest, factor, offset):
    stored = (factor * chest + offset).astype(np.float32)
    scale = find_hu_scale(stored)
    hu = scale.factor * stored + scale.offset
    # Half a bin of the histogram, and air at its lowest noise: within 40 HU of what it is.
    assert np.abs(np.median(hu[chest > 0]) - np.median(chest[chest > 0])) < 40
    assert np.abs(np.median(hu[chest < -950]) - np.median(chest[chest < -950])) < 40


@pytest.mark.parametrize(
    ("fat", "muscle", "organ", "organ_hu"),
    [(0.7, 0.3, 0, 0), (0.3, 0.7, 0, 0), (0.3, 0.45, 0.25, 120), (0.2, 0.5, 0.3, 200), (0.5, 0.3, 0.2, 120)],
)
def test_an_unknown_scale_is_found_whether_a_body_is_fat_or_lean(fat, muscle, organ, organ_hu, rng):
    shares = [0.4, 0.6 * fat, 0.6 * muscle, 0.6 * organ]
    hu = rng.choice([-1000.0, -100.0, 55.0, organ_hu], SHAPE, p=shares)
    here = hu.copy()
    hu += rng.normal(0, 15, SHAPE)
    stored = (17 * hu + 19000).astype(np.float32)
    scale = find_hu_scale(stored)
    found = scale.factor * stored + scale.offset
    for value in (-1000.0, -100.0, 55.0):
        assert abs(np.median(found[here == value]) - value) < 40


def test_true_units_are_left_alone(chest):
    scale = find_hu_scale(chest)
    assert (scale.factor, scale.offset) == (1.0, 0.0)


def test_lung_soft_tissue_and_bone_keep_contrast():
    hu = np.array([-1100, -900, -700, -100, 0, 60, 200, 600, 1400, 3000], np.float32)
    bright = brightness_of_tissues(hu)
    assert bright[0] == 0
    assert bright[-1] == 1
    assert np.all(np.diff(bright[1:-1]) > 0)
    assert bright[2] - bright[1] > 0.05
    assert bright[5] - bright[4] > 0.1
    assert bright[8] - bright[7] > 0.05


def test_only_a_body_with_much_lung_shows_lung(chest):
    body = ct_body(chest)
    assert shows_lung(chest, body)
    assert not shows_lung(np.where(chest < -500, 40, chest).astype(np.float32), body)


@pytest.mark.parametrize("fill", [-1024.0, -3024.0, 0.0])
def test_a_fill_beyond_the_field_of_view_was_not_measured(chest, fill):
    i, j, _ = np.indices(SHAPE)
    outside = (i - 20) ** 2 + (j - 18) ** 2 > 13**2
    image = np.where(outside, np.float32(fill), chest)
    np.testing.assert_array_equal(measured_voxels(image), ~outside)
    assert measured_voxels(chest).all()


def test_lungs_that_the_field_of_view_opens_belong_to_the_body(chest):
    i, j, _ = np.indices(SHAPE)
    outside = (i - 20) ** 2 + (j - 18) ** 2 > 11**2
    image = np.where(outside, np.float32(-1024), chest)
    lung = (chest < -700) & (chest > -900) & ~outside & (np.abs(i - 20) < 9)
    body = ct_body(image)
    assert body[lung].mean() > 0.95
    assert not body[outside].any()
    assert ct_body(chest)[threshold_foreground(chest, "ct")].all()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_values_of_a_window_are_on_no_scale_of_a_ct(chest, low, high):
    shown = np.clip((chest + 1000) / 2000, 0, 1)
    assert find_hu_scale((low + (high - low) * shown).astype(np.float32)) is None
