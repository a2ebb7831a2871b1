import numpy as np
import pytest

from dinoreg.preprocess.intensity import clip_mr, image_family, image_kind, window_ct


@pytest.mark.parametrize(
    ("hounsfield", "expected"), [(-1000, 0), (-150, 0), (-50, 0.25), (50, 0.5), (250, 1), (3000, 1)]
)
def test_abdominal_window(hounsfield, expected):
    # Level 50, width 400: -150 .. 250.
    found = window_ct(np.full((2, 3, 4), hounsfield, np.float32), level_hu=50, width_hu=400)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected)


def test_lung_window():
    # Level -600, width 1500: -1350 .. 150; -600 is the middle, -975 a quarter.
    image = np.array([-1350, -975, -600, 150], np.float32).reshape(1, 2, 2)
    found = window_ct(image, level_hu=-600, width_hu=1500)
    np.testing.assert_allclose(found.ravel(), [0, 0.25, 0.5, 1])


def test_mr_is_clipped_at_its_percentile():
    # 0 .. 100: the 97th percentile is 97.
    image = np.arange(101, dtype=np.float32).reshape(101, 1, 1)
    found = clip_mr(image, percentile=97).ravel()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[[0, 48, 97, 100]], [0, 48 / 97, 1, 1], rtol=1e-6)


def test_mr_range_is_that_of_the_foreground():
    image = np.concatenate([np.arange(101), [-500, 4000]]).astype(np.float32).reshape(103, 1, 1)
    foreground = np.ones(image.shape, bool)
    foreground[101:] = False
    found = clip_mr(image, percentile=100, foreground=foreground).ravel()
    np.testing.assert_allclose(found[[0, 50, 100, 101, 102]], [0, 0.5, 1, 0, 1])
    empty = np.zeros(image.shape, bool)
    np.testing.assert_array_equal(
        clip_mr(image, percentile=100, foreground=empty), clip_mr(image, percentile=100)
    )


def test_a_constant_image_becomes_zero():
    found = clip_mr(np.full((2, 3, 4), 7, np.float32), percentile=97)
    assert found.dtype == np.float32
    assert not found.any()


def test_the_image_is_not_written_to():
    image = np.linspace(-2000, 2000, 24, dtype=np.float32).reshape(2, 3, 4)
    copy = image.copy()
    window_ct(image, level_hu=50, width_hu=400)
    clip_mr(image, percentile=97)
    np.testing.assert_array_equal(image, copy)


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("CBCT", "ct"),
        ("FBCT", "ct"),
        ("Lung CT", "ct"),
        ("PET-CT", "ct"),
        ("MR", "mr"),
        ("MRI", "mr"),
        ("MR T2", "mr"),
        ("T1w Brain MRI", "mr"),
        ("T2", "mr"),
        ("FLAIR", "mr"),
        ("MR_T1", "mr"),
    ],
)
def test_kind_by_name_whatever_the_values(modality, expected):
    for low in (-1000, 0):
        assert image_kind(modality, np.array([low, 100], np.float32)) == expected


@pytest.mark.parametrize("modality", ["", "unknown", "ultrasound"])
def test_kind_by_values_where_the_name_tells_nothing(modality):
    assert image_kind(modality, np.array([-1000, 100], np.float32)) == "ct"
    assert image_kind(modality, np.array([-50, 100], np.float32)) == "mr"


@pytest.mark.parametrize("modality", ["CTA", "4DCT", "CECT"])
def test_kinds_of_ct(modality):
    assert image_kind(modality, np.array([0, 100], np.float32)) == "ct"


def test_a_name_that_contains_ct_is_not_ct():
    # SPECT counts photons: nothing in Hounsfield units.
    assert image_kind("SPECT", np.array([0, 100], np.float32)) == "mr"


@pytest.mark.parametrize(
    ("modality", "low", "family"),
    [
        ("CBCT", 0, "ct"),
        ("fixed-ct", 0, "ct"),
        ("cone beam CT", 0, "ct"),
        ("T2w MR", -900, "mr"),
        ("TRUS", 0, "ultrasound"),
        ("", -1000, "ct"),
        ("", 0, "mr"),
    ],
)
def test_whose_intensities_can_be_compared(modality, low, family):
    assert image_family(modality, np.array([low, 100], np.float32)) == family
