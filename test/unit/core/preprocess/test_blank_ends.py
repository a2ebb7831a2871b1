from types import SimpleNamespace

import numpy as np
import pytest
import torch
from core_reference import shifted_pair

from dinoreg.pipeline import register as pipeline
from dinoreg.preprocess.blank_ends import common_padding, with_blank_ends
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.preprocess.prepare import prepare_scan
from dinoreg.settings.load import load_preset
from dinoreg.stage import StageEnded
from regtask.grid import Grid

SHAPE = (16, 14, 40)
FILL = -1024.0


def _scan(values, mm=(2.0, 5.0, 4.0)):
    return Scan(values.astype(np.float32), Grid(values.shape, np.diag([*mm, 1.0])))


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
    pair = with_blank_ends(ImagePair(*map(_scan, values)))
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
    nothing = SimpleNamespace(verdict=None, deformed=False)
    monkeypatch.setattr(pipeline, "register_prepared", lambda *images, **settings: nothing)
    pair = ImagePair(_scan(body), _scan(_cut(body, 12, 30)))
    pipeline.register(pair, load_preset(preset), device=torch.device("cpu"))
    assert (seen[1].beside is not None) == marked


NONE = ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize(
    ("fixed", "moving", "expected"),
    [
        pytest.param((5, 37), (5, 37), (5, 3), id="cut alike"),
        pytest.param((5, 37), (7, 36), (5, 3), id="one within the other"),
        pytest.param((7, 36), (5, 37), (5, 3), id="the other within the one"),
        pytest.param((5, 37), (7, 38), (5, 2), id="each beyond the other"),
        pytest.param((0, 37), (4, 37), (0, 3), id="one end alone"),
        pytest.param((0, 40), (4, 37), (0, 0), id="one of them is not padded"),
    ],
)
def test_padding_of_both_is_what_the_wider_field_of_view_leaves(body, fixed, moving, expected):
    pair = ImagePair(_scan(_cut(body, *fixed)), _scan(_cut(body, *moving)))
    assert common_padding(pair) == ((0, 0), (0, 0), expected)


def test_each_axis_has_padding_of_its_own(body):
    cut = np.full(SHAPE, FILL)
    cut[2:15, 1:, 3:33] = body[2:15, 1:, 3:33]
    pair = ImagePair(_scan(cut, (9.0, 2.0, 5.0)), _scan(cut, (9.0, 2.0, 5.0)))
    assert common_padding(pair) == ((2, 1), (1, 0), (3, 7))


@pytest.mark.parametrize(("mm", "left"), [(2.5, False), (3.5, True)])
def test_what_was_cut_out_around_an_organ_keeps_its_ends(body, mm, left):
    """32 planes of it are shown: 80 mm or 112 mm."""
    cut = _scan(_cut(body, 5, 37), mm=(1.0, 1.0, mm))
    assert common_padding(ImagePair(cut, cut)) == (((0, 0), (0, 0), (5, 3)) if left else NONE)


def test_air_around_a_body_is_no_padding():
    i, j, k = np.indices(SHAPE)
    ball = ((i - 8) / 6) ** 2 + ((j - 7) / 5) ** 2 + ((k - 20) / 15) ** 2
    body = _scan(np.where(ball < 1, 40.0, FILL), mm=(9.0, 9.0, 9.0))
    assert common_padding(ImagePair(body, body)) == NONE


@pytest.mark.parametrize(("last", "expected"), [(33, (5, 3)), (37, (5, 0))])
def test_where_one_body_is_cut_the_other_may_end_earlier_by_itself(body, last, expected):
    """Between the padding and a body that ends there needs to be some air."""
    pointed = np.full(SHAPE, FILL)
    for k in range(7, last):
        half = min(4, 1 + k - 7, last - k)
        pointed[8 - half : 8 + half, 5:9, k] = 40
    pair = ImagePair(_scan(_cut(body, 5, 37)), _scan(pointed))
    assert common_padding(pair) == ((0, 0), (0, 0), expected)


def test_everything_of_a_pair_is_cut_alike(body):
    grid = Grid(SHAPE, np.diag([2.0, 3.0, 4.0, 1.0]))
    marks = {name: body > limit for name, limit in (("mask", 0), ("invalid", 30), ("beside", 45))}
    scan = Scan(body.astype(np.float32), grid, **marks)
    margins = ((3, 1), (0, 5), (7, 2))
    cut = ImagePair(scan, Scan(scan.values, grid)).without(margins)
    inner = (slice(3, 15), slice(0, 9), slice(7, 38))
    np.testing.assert_array_equal(cut.fixed.values, scan.values[inner])
    for name, mark in marks.items():
        np.testing.assert_array_equal(getattr(cut.fixed, name), mark[inner])
        assert getattr(cut.moving, name) is None
    assert cut.moving.grid.shape == cut.moving.values.shape
    np.testing.assert_allclose(cut.fixed.grid.affine[:3, 3], (6.0, 0.0, 28.0))


def test_padding_both_changes_nothing_inside_and_holds_beside(rng):
    """The same pair in air of one value, wider on one side than on the other."""
    fixed, moving = (values.astype(np.float32) for values in shifted_pair((36, 30, 26), (1, -2, 3), rng))
    margins = ((3, 9), (0, 5), (7, 2))

    def found(pad):
        pair = [np.pad(values, pad, constant_values=-5.0) for values in (fixed, moving)]
        scans = (_scan(values, (4.0, 5.0, 6.0)) for values in pair)
        return pipeline.register(
            ImagePair(*scans), load_preset("auto"), device=torch.device("cpu"), on_stage=told.append
        )

    told = []
    padded = found(margins)
    kept = [event for event in told if isinstance(event, StageEnded) and event.fallback]
    alone = found(NONE)
    assert alone.margins == NONE
    assert padded.margins == margins
    assert padded.as_dict()["padding_left_out"] == [list(margin) for margin in margins]
    assert "padding_left_out" not in alone.as_dict()
    np.testing.assert_array_equal(
        padded.displacement, np.pad(alone.displacement, [*margins, (0, 0)], mode="edge")
    )
    np.testing.assert_allclose(np.median(alone.displacement, axis=(0, 1, 2)), (1, -2, 3), atol=0.3)
    assert kept
    for event in kept:  # what is written where a later stage fails
        assert event.fallback().shape == padded.displacement.shape


def test_what_was_cut_is_read_as_the_whole_was(rng):
    """The padding is the only air of a CT that ends in the body: without it the values tell of no scale."""
    values = np.full((30, 30, 30), FILL, np.float32)
    inside = (slice(4, 26),) * 3
    values[inside] = rng.normal(40, 15, (22, 22, 22))
    values[10:14, 10:14, 10:14] = -90.0
    whole = _scan(values, mm=(5.0, 5.0, 5.0))
    settings = load_preset("auto").preprocess
    cut = ImagePair(whole, whole).without(((4, 4),) * 3).fixed
    expected = prepare_scan(whole, settings)
    found = prepare_scan(cut, settings)
    assert found.family == expected.family == "ct"
    np.testing.assert_array_equal(found.values, expected.values[inside])
    alone = prepare_scan(_scan(values[inside], mm=(5.0, 5.0, 5.0)), settings)
    assert np.abs(alone.values - found.values).max() > 0.2
    again = ImagePair(cut, cut).without(((1, 1),) * 3).fixed
    np.testing.assert_array_equal(prepare_scan(again, settings).values, found.values[1:-1, 1:-1, 1:-1])
