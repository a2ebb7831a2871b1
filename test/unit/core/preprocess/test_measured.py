"""Voxels that hold no measurement: where they are, and that nothing is learned from them."""

import numpy as np
import pytest
from core_reference import SHAPE

from dinoreg.preprocess.foreground import ct_body
from dinoreg.preprocess.measured import fill_missing, measured_voxels, missing_voxels
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Preprocess

SOURCES = ("auto", "threshold", "body", "none", "task-or-all")


@pytest.fixture
def ct(rng):
    """A body of soft tissue in air, HU."""
    image = rng.normal(-1000, 10, SHAPE).clip(-1024)
    image[5:15, 6:20, 6:28] = rng.normal(40, 30, (10, 14, 22))
    return image.astype(np.float32)


@pytest.fixture
def hole():
    """Outside a cylinder, and a few voxels within the body."""
    i, j, _ = np.indices(SHAPE)
    hole = (i - 10) ** 2 + (j - 13) ** 2 > 11**2
    hole[8:10, 10:12, 10:12] = True
    return hole


@pytest.mark.parametrize("beyond", [-2000, -2048, -3024])
def test_no_scanner_measures_below_vacuum(ct, hole, beyond):
    ct[hole] = beyond
    np.testing.assert_array_equal(missing_voxels(ct, "ct", None), hole)
    assert missing_voxels(ct, "mr", None) is None


def test_both_ways_of_lacking_a_value(ct, hole):
    ct[0, 0, 0] = -3024
    found = missing_voxels(ct, "ct", hole)
    assert found[0, 0, 0]
    assert found[9, 11, 11]
    assert missing_voxels(np.where(ct < -1900, 0, ct), "ct", None) is None


def test_a_scale_of_its_own_says_nothing(ct):
    assert missing_voxels(ct - 30_000, "ct", None) is None


def test_filled_with_the_lowest_measured_value(ct, hole):
    ct[hole] = -3024
    filled = fill_missing(ct, hole)
    assert set(filled[hole]) == {ct[~hole].min()}
    np.testing.assert_array_equal(filled[~hole], ct[~hole])


def test_what_is_missing_in_a_corner_is_a_fill_and_what_is_missing_inside_is_none(ct, hole):
    inner = hole.copy()
    inner[8:10, 10:12, 10:12] = False
    filled = fill_missing(ct, hole)
    np.testing.assert_array_equal(measured_voxels(filled, hole), ~inner)
    scattered = np.zeros_like(hole)
    scattered[2::5, 2::5, 2::5] = True
    assert measured_voxels(fill_missing(ct, scattered), scattered).all()
    # So a few lost voxels do not turn the air around a body into body.
    assert not ct_body(fill_missing(ct, scattered), scattered)[0, 0].any()


@pytest.mark.parametrize("degrees", [0, 20])
def test_a_fill_is_found_where_the_image_stands_in_a_larger_grid(degrees, rng):
    """A cylinder of view, as of a cone-beam CT, in a box of its own that is turned in the grid."""
    shape = (50, 56, 24)
    x, y, z = np.indices(shape)
    a = np.radians(degrees)
    right, back = (np.cos(a) * (x - 25) + np.sin(a) * (y - 28), np.cos(a) * (y - 28) - np.sin(a) * (x - 25))
    box = (abs(right) < 17) & (abs(back) < 18) & (z > 3) & (z < 20)
    seen = box & (right**2 + back**2 < 15**2)
    image = np.where(seen, rng.normal(40, 20, shape), np.where(box, -1000, -1024)).astype(np.float32)
    found = measured_voxels(image, ~box)
    assert box[~seen].mean() > 0.01
    np.testing.assert_array_equal(found, seen)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("tissues", ["window", "tissues"])
@pytest.mark.parametrize("kind", ["NaN", "-3024"])
def test_of_a_ct_only_what_was_measured_counts(ct, hole, source, tissues, kind):
    settings = Preprocess(foreground=source, ct=tissues)
    ct[hole] = -3024 if kind == "-3024" else ct[~hole].min()  # as regtask fills NaN
    found = prepare_image(ct, settings, modality="CT", mask=None, invalid=hole if kind == "NaN" else None)
    assert not found.foreground[hole].any()
    assert found.foreground[5:15, 6:20, 6:28][~hole[5:15, 6:20, 6:28]].all()
    assert not found.values[hole].any()


@pytest.mark.parametrize("source", SOURCES)
def test_no_percentile_of_an_mr_sees_what_is_missing(rng, hole, source):
    image = rng.normal(30, 3, SHAPE).clip(0).astype(np.float32)
    image[5:15, 6:20, 6:28] = rng.normal(400, 40, (10, 14, 22))
    body = np.zeros(SHAPE, bool)
    body[5:15, 6:20, 6:28] = True
    settings = Preprocess(foreground=source)
    # Whatever stands in the file there, the result is the same.
    results = []
    for value in (image[~hole].min(), 0.0, 5000.0):
        given = np.where(hole, np.float32(value), image)
        results.append(prepare_image(given, settings, modality="MR", mask=None, invalid=hole))
    for found in results:
        np.testing.assert_array_equal(found.values, results[0].values)
        np.testing.assert_array_equal(found.foreground, results[0].foreground)
        assert not found.foreground[hole].any()
        assert found.foreground[body & ~hole].all()


def test_mr_is_clipped_at_the_percentile_of_what_was_measured(rng, hole):
    image = rng.uniform(100, 900, SHAPE).astype(np.float32)
    settings = Preprocess(foreground="none", mr_percentile=90)
    found = prepare_image(image, settings, modality="MR", mask=None, invalid=hole)
    low, high = image[~hole].min(), np.percentile(image[~hole], 90)
    np.testing.assert_allclose(
        found.values[~hole], ((image[~hole] - low) / (high - low)).clip(0, 1), atol=1e-6
    )


def test_the_threshold_of_an_mr_is_that_of_what_was_measured():
    # 10 of 100 voxels were measured, 2 of them body: the 97th percentile of all would be air.
    image = np.full((10, 10, 1), 5, np.float32)
    image[0, :8] = np.arange(10, 18)[:, None]
    image[0, 8:] = 1000
    missing = np.ones(image.shape, bool)
    missing[0] = False
    settings = Preprocess(foreground="threshold")
    body = prepare_image(image, settings, modality="MR", mask=None, invalid=missing).foreground
    assert body.sum() == 2
    assert body[0, 8:].all()


def test_the_scale_of_a_ct_is_that_of_what_was_measured(ct):
    # Stored on a scale of its own, so that air and soft tissue tell it; most of the air is missing.
    stored = (0.5 * ct + 300).astype(np.float32)
    missing = np.zeros(SHAPE, bool)
    missing[:, :, 15:] = True
    settings = Preprocess(foreground="none", ct="tissues")
    found = prepare_image(stored, settings, modality="CT", mask=None, invalid=missing)
    alone = prepare_image(stored[:, :, :15], settings, modality="CT", mask=None)
    np.testing.assert_array_equal(found.values[:, :, :15], alone.values)


def test_a_mask_of_the_task_does_not_bring_it_back(ct, hole):
    found = prepare_image(
        ct, Preprocess(foreground="task"), modality="CT", mask=np.ones(SHAPE, bool), invalid=hole
    )
    np.testing.assert_array_equal(found.foreground, ~hole)


def test_as_stored_the_lowest_value_stands_for_what_is_missing(ct, hole):
    settings = Preprocess(foreground="none", normalise=False)
    found = prepare_image(ct, settings, modality="CT", mask=None, invalid=hole)
    assert set(found.values[hole]) == {ct[~hole].min()}
