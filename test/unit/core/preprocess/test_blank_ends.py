import numpy as np
import pytest
import torch

from dinoreg.pipeline import register as pipeline
from dinoreg.preprocess.blank_ends import with_blank_ends
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.load import load_preset
from regtask.grid import Grid

SHAPE = (16, 14, 40)
FILL = -1024.0


def _scan(values):
    return Scan(values.astype(np.float32), Grid(SHAPE, np.eye(4)))


@pytest.fixture
def body(rng):
    """A trunk that goes through the whole image, in air that is never quite one value."""
    values = rng.normal(-1000, 10, SHAPE)
    values[4:12, 3:11] += 1040
    return values


def _cut(values, first, last):
    cut = values.copy()
    cut[:, :, :first], cut[:, :, last:] = FILL, FILL
    return cut


def test_an_end_is_marked_where_the_other_image_goes_on(body):
    pair = with_blank_ends(ImagePair(_scan(body), _scan(_cut(body, 12, 30))))
    assert pair.fixed.beside is None
    expected = np.ones(SHAPE, bool)
    expected[:, :, 12:30] = False
    np.testing.assert_array_equal(pair.moving.beside, expected)


def test_both_images_can_end_on_one_side_of_the_other(body):
    pair = with_blank_ends(ImagePair(_scan(_cut(body, 0, 25)), _scan(_cut(body, 12, 40))))
    assert np.flatnonzero(pair.fixed.beside.all(axis=(0, 1))).tolist() == list(range(25, 40))
    assert np.flatnonzero(pair.moving.beside.all(axis=(0, 1))).tolist() == list(range(12))


def test_ends_at_about_one_place_stay_edges(body):
    pair = with_blank_ends(ImagePair(_scan(_cut(body, 10, 40)), _scan(_cut(body, 12, 40))))
    assert pair.fixed.beside is None
    assert pair.moving.beside is None


def test_a_body_that_ends_by_itself_is_left_alone(body):
    head = np.full(SHAPE, FILL)
    i, j, k = np.indices(SHAPE)
    inside = ((i - 8) / 7) ** 2 + ((j - 7) / 6) ** 2 + ((k - 12) / 10) ** 2 < 1
    head[inside] = body[inside]
    pair = with_blank_ends(ImagePair(_scan(body), _scan(head)))
    assert pair.moving.beside is None


@pytest.mark.parametrize("form", ["squarish", "flat back"])
def test_a_body_moved_in_air_of_one_value_is_left_alone(form, rng):
    shape = (60, 90, 24)
    i, j, _ = np.indices(shape)

    def trunk(middle):
        away = np.abs((i - 30) / 26) ** (2.5 if form == "squarish" else 2)
        inside = away + np.abs((j - middle) / 38) ** (2.5 if form == "squarish" else 2) < 1
        if form == "flat back":
            inside &= j > middle - 0.95 * 38
        return np.where(inside, rng.normal(40, 10, shape), FILL)

    values = [trunk(middle).astype(np.float32) for middle in (39, 51)]
    pair = with_blank_ends(ImagePair(*(Scan(v, Grid(shape, np.eye(4))) for v in values)))
    assert pair.fixed.beside is None
    assert pair.moving.beside is None


@pytest.mark.parametrize("plane", [0, 20, 39])
def test_a_single_plane_among_blank_ones_is_a_field_of_view(body, plane):
    pair = with_blank_ends(ImagePair(_scan(body), _scan(_cut(body, plane, plane + 1))))
    expected = np.ones(SHAPE, bool)
    expected[:, :, plane] = False
    np.testing.assert_array_equal(pair.moving.beside, expected)


def test_what_was_marked_before_stays_marked(body):
    moving = _scan(_cut(body, 12, 40))
    beside = np.zeros(SHAPE, bool)
    beside[:2] = True
    moving = Scan(moving.values, moving.grid, beside=beside)
    found = with_blank_ends(ImagePair(_scan(body), moving)).moving.beside
    expected = beside.copy()
    expected[:, :, :12] = True
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("preset", "marked"), [("auto", True), ("mind", False)])
def test_a_registration_marks_them_where_its_settings_go_on(body, preset, marked, monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline, "prepare_scan", lambda scan, settings: seen.append(scan))
    monkeypatch.setattr(pipeline, "register_prepared", lambda *images, **settings: None)
    pair = ImagePair(_scan(body), _scan(_cut(body, 12, 30)))
    pipeline.register(pair, load_preset(preset), device=torch.device("cpu"))
    assert (seen[1].beside is not None) == marked
