"""Pairs whose moving image shows a part of the fixed one: the displacement is sought from there."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from dinoreg.errors import ConfigError
from dinoreg.field_verdict import judge_field
from dinoreg.guard.judged import Judged
from dinoreg.guard.verdict import Evidence, judge
from dinoreg.linear.joined import JoinedImages
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.preprocess.prepare import prepare_scan
from dinoreg.preprocess.together import bring_together
from dinoreg.settings.load import load_preset
from regtask.grid import Grid

SHAPE, CUT = (52, 60, 72), slice(24, 50)
CPU = torch.device("cpu")
START = {"discrete": (), "adam": (), "renewed": None, "detail": None}  # all but the start left out
SHIFT = np.array([3.0, -5.0, 7.0]) / 2


@pytest.fixture(scope="module")
def known():
    """A textured body, a displacement of it, and where what it shows of fixed is in the cut of moving."""
    rng = np.random.default_rng(2)
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    places = np.indices(SHAPE).T / (np.array(SHAPE) - 1) - 0.5
    inside = ((places / (0.42, 0.42, 0.7)) ** 2).sum(axis=-1).T < 1
    moving = np.where(inside, 600 + 150 * texture / texture.std(), 0) + rng.normal(0, 3, SHAPE)
    bumps = np.stack([ndimage.gaussian_filter(rng.standard_normal(SHAPE), 9) for _ in range(3)])
    u = SHIFT[:, None, None, None] + 1.2 * bumps / bumps.std()
    fixed = ndimage.map_coordinates(moving, np.indices(SHAPE) + u, order=1, mode="nearest")
    leads_to = (np.indices(SHAPE) + u)[2]
    shown = inside & (leads_to > CUT.start + 2) & (leads_to < CUT.stop - 3)
    return fixed.astype(np.float32), moving.astype(np.float32), u, shown


def cut_pair(fixed, moving, affine):
    part = np.zeros_like(moving)
    part[:, :, CUT] = moving[:, :, CUT]
    grid = Grid(SHAPE, affine)
    return ImagePair(Scan(fixed, grid), Scan(part, grid))


@pytest.fixture(scope="module")
def pair(known):
    """Stored along left, superior and anterior, turned by 9 degrees, in voxels of three sizes."""
    fixed, moving, _, _ = known
    a = np.radians(9)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]) @ np.diag([2.5, 2.0, 2.2])
    affine[:3, 3] = (70, -60, -50)
    return cut_pair(fixed, moving, affine)


def error_of(field, known):
    _, _, u, shown = known
    return np.linalg.norm(field[shown] - np.moveaxis(u, 0, -1)[shown], axis=1)


def test_a_part_is_found_and_judged_by_what_it_shows(pair, known):
    found = register(pair, load_preset("auto"), device=CPU)
    assert found.exchanged
    assert found.as_dict()["sought_from"] == "moving"
    assert found.other_way is None
    assert "other_way" not in found.as_dict()
    assert np.median(error_of(found.displacement, known)) < 0.5
    assert found.guard.folds == 0
    evidence = found.verdict.evidence
    assert evidence.exchanged
    assert evidence.covered > 0.9
    fixed, *_, shown = known
    body = fixed > 300
    assert evidence.shown == pytest.approx((shown & body).sum() / body.sum(), abs=0.1)
    assert found.verdict.grade == "good"
    # Whoever asks later sees the same.
    again = judge_field(pair, found.displacement)
    assert (again.grade, again.evidence.exchanged) == ("good", True)
    assert again.evidence.covered == pytest.approx(evidence.covered, abs=0.05)


def test_the_settings_can_hold_to_fixed(pair):
    config = load_preset("auto", ["sought_from=fixed"]).model_copy(update=START)
    found = register(pair, config, device=CPU)
    assert not found.exchanged
    assert "sought_from" not in found.as_dict()
    assert found.verdict.evidence.covered < 0.6
    assert found.verdict.evidence.shown is None


def test_a_fixed_image_that_shows_a_part_stays_in_its_place(pair):
    config = load_preset("auto").model_copy(update=START)
    found = register(ImagePair(pair.moving, pair.fixed), config, device=CPU)
    assert not found.exchanged


def test_another_part_fails_in_words_of_what_was_compared(pair, monkeypatch):
    """Nothing of moving is in fixed."""
    to_beat = []
    run = importlib.import_module("dinoreg.pipeline.register")._Run
    monkeypatch.setattr(
        run, "_refined", lambda self, _, plan, found, __: to_beat.append(self.to_beat) or found
    )
    rng = np.random.default_rng(4)
    other = np.zeros(SHAPE, np.float32)
    other[10:40, 10:50, CUT] = 600 + 150 * rng.standard_normal((30, 40, 26))
    found = register(
        replace(pair, moving=replace(pair.moving, values=other)), load_preset("auto"), device=CPU
    )
    assert found.verdict.grade == "failed"
    assert any("matched places differ" in reason for reason in found.verdict.reasons)
    # It was sought from fixed as well, with no more luck.
    assert found.other_way.grade == "failed"
    assert found.exchanged
    assert not found.other_way.evidence.exchanged
    assert found.as_dict()["other_way"]["verdict"] == "failed"
    assert [stage.name for stage in found.stages].count("adam") == 2
    assert to_beat == [None]  # the second one, which beats nothing, is not refined


def test_a_failure_the_other_way_round_loses_nothing(pair, monkeypatch, caplog):
    run = importlib.import_module("dinoreg.pipeline.register")._Run
    found = run.registration

    def fails(self):
        if self.to_beat is not None:
            raise torch.OutOfMemoryError("no room")
        return found(self)

    monkeypatch.setattr(run, "registration", fails)
    config = load_preset("auto").model_copy(update=START)
    swapped = replace(pair, moving=replace(pair.moving, values=pair.moving.values[::-1].copy()))
    result = register(swapped, config, device=CPU)
    assert result.verdict.grade != "good"
    assert result.other_way is None
    assert "not sought from the other image: no room" in caplog.text


def test_what_looks_clearly_better_the_other_way_round_is_taken(known, monkeypatch):
    """Both show the whole body; from fixed it is made to look wrong."""
    fixed, moving, u, _ = known
    grid = Grid(SHAPE, np.diag([2.5, 2.2, 2.0, 1.0]))
    run = importlib.import_module("dinoreg.pipeline.register")._Run
    said, refined, to_beat = Judged.verdict, run._refined, []
    wrong = judge(Evidence(0.9, 0.7, 0.0))

    def verdict(self, *args, exchanged):
        return said(self, *args, exchanged=True) if exchanged else wrong

    def noted(self, *args):
        to_beat.append(self.to_beat)
        return refined(self, *args)

    monkeypatch.setattr(Judged, "verdict", verdict)
    monkeypatch.setattr(run, "_refined", noted)
    found = register(ImagePair(Scan(fixed, grid), Scan(moving, grid)), load_preset("auto"), device=CPU)
    assert (found.exchanged, found.verdict.grade, found.other_way) == (True, "good", wrong)
    assert to_beat == [None, wrong]
    body = fixed > 300
    error = np.linalg.norm(found.displacement[body] - np.moveaxis(u, 0, -1)[body], axis=1)
    assert np.median(error) < 0.5
    names = [stage.name for stage in found.stages]
    assert (names.count("start: search"), names[-1]) == (2, "guard")


def test_a_single_slice_is_sought_once(known):
    fixed, moving, *_ = known
    grid = Grid((*SHAPE[:2], 1), np.diag([2.5, 2.2, 2.0, 1.0]))
    scans = (Scan(np.ascontiguousarray(image[:, :, 30:31]), grid) for image in (fixed, moving))
    found = register(ImagePair(*scans), load_preset("auto"), device=CPU)
    assert found.verdict.grade != "good"
    assert found.other_way is None


def body_in_air(seed=6):
    """A CT of a body in noisy air, HU."""
    rng = np.random.default_rng(seed)
    places = np.indices(SHAPE).T / (np.array(SHAPE) - 1) - 0.5
    inside = ((places / (0.35, 0.3, 0.8)) ** 2).sum(axis=-1).T < 1
    texture = 40 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5)
    return np.where(inside, 30 + texture, -1000 + rng.normal(0, 5, SHAPE)).astype(np.float32)


def joined(fixed, moving, window):
    """On one grid, as at the desk: moving is cut to a window of what fixed shows."""
    grid = Grid(SHAPE, np.diag([3.0, 3.0, 3.0, 1.0]))
    part = moving[window]
    own = grid.cropped(tuple(one.start for one in window), part.shape)
    pair = bring_together(Scan(fixed, grid, "CT"), Scan(part, own, "CT")).pair
    settings = load_preset("auto").preprocess
    images = (prepare_scan(scan, settings) for scan in (pair.fixed, pair.moving))
    return JoinedImages(*images, pair.fixed.grid.spacing_mm)


def test_of_a_ct_bodies_are_compared_not_the_air_around_one_of_them():
    """A scan that ends within a grid has all that was measured as foreground, air and all."""
    image = body_in_air()
    whole = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert joined(image, image, (*whole, slice(20, 42))).moving_shows_less
    assert not joined(image, image, (*whole, slice(2, 70))).moving_shows_less
    # Both show the same body, and moving more of the air beside it: fixed ends within the grid.
    near = image[6:46, 9:51]
    grid = Grid(near.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    wide = Grid(SHAPE, grid.cropped((0, 0, 0), near.shape).affine @ _moved_by((-6, -9, 0)))
    pair = bring_together(Scan(near, grid, "CT"), Scan(image, wide, "CT")).pair
    assert pair.fixed.beside is not None
    settings = load_preset("auto").preprocess
    images = [prepare_scan(scan, settings) for scan in (pair.fixed, pair.moving)]
    assert images[1].foreground.sum() < 0.6 * images[0].foreground.sum()
    assert not JoinedImages(*images, pair.fixed.grid.spacing_mm).moving_shows_less


def _moved_by(index):
    matrix = np.eye(4)
    matrix[:3, 3] = index
    return matrix


@pytest.mark.parametrize("preset", ["dinoreg", "convexadam-published"])
def test_presets_that_look_at_fixed_first_cannot_be_exchanged(preset):
    with pytest.raises(ConfigError, match="sought_from = fixed"):
        load_preset(preset, ["sought_from=evidence"])
