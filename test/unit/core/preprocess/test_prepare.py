import numpy as np
import pytest
from core_reference import SHAPE

from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Preprocess

BODY = (slice(4, 15), slice(3, 20), slice(8, 30))
MASK = np.zeros(SHAPE, bool)
MASK[6:10, 5:12, 10:20] = True


@pytest.fixture
def ct(rng):
    image = np.full(SHAPE, -1000, np.float32)
    image[BODY] = rng.uniform(-100, 200, image[BODY].shape)
    return image


def _body():
    body = np.zeros(SHAPE, bool)
    body[BODY] = True
    return body


@pytest.mark.parametrize(
    ("source", "mask", "expected"),
    [
        ("auto", None, _body()),
        ("auto", MASK, MASK),
        ("task", MASK, MASK),
        ("task", None, np.ones(SHAPE, bool)),
        ("threshold", MASK, _body()),
        ("none", MASK, np.ones(SHAPE, bool)),
    ],
)
def test_source_of_the_foreground(source, mask, expected, ct):
    prepared = prepare_image(ct, Preprocess(foreground=source), modality="CT", mask=mask)
    np.testing.assert_array_equal(prepared.foreground, expected)
    assert prepared.values.dtype == np.float32
    assert not prepared.values[~expected].any()
    assert prepared.identity == ""


def test_ct_is_windowed_and_content_found(ct):
    prepared = prepare_image(ct, Preprocess(), modality="CT", mask=None)
    np.testing.assert_allclose(prepared.values[BODY], (ct[BODY] + 150) / 400, atol=1e-6)
    assert prepared.content == BODY


def test_mr_is_clipped_within_the_foreground(ct):
    prepared = prepare_image(ct + 1000, Preprocess(mr_percentile=100), modality="MR", mask=MASK)
    inside = prepared.values[MASK]
    assert (inside.min(), inside.max()) == (0, 1)


def test_unknown_modality_goes_by_the_values(ct):
    as_ct = prepare_image(ct, Preprocess(), modality="CT", mask=None)
    unknown = prepare_image(ct, Preprocess(), modality="", mask=None)
    np.testing.assert_array_equal(unknown.values, as_ct.values)


def test_without_normalisation_the_intensities_stay(ct):
    copy = ct.copy()
    prepared = prepare_image(ct, Preprocess(normalise=False, foreground="none"), modality="CT", mask=None)
    np.testing.assert_array_equal(prepared.values, ct)
    np.testing.assert_array_equal(ct, copy)


def test_a_ct_whose_values_are_no_longer_hu_goes_by_their_range(ct):
    shown = np.clip((ct + 1000) / 2000, 0, 1)
    named = prepare_image(shown, Preprocess(ct="tissues", foreground="body"), modality="CT", mask=None)
    np.testing.assert_array_equal(named.foreground, _body())
    assert (named.values[BODY].min(), named.values[BODY].max()) == (0, 1)
    assert named.family == "ct"
