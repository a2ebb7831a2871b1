import numpy as np
import pytest
import torch
from core_reference import shifted_pair

from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.start.search import search_start

SHAPE = (28, 34, 46)
SPACING = (9.0, 11.0, 8.0)
RANGE_MM = (120.0, 120.0, 200.0)


def _features(values):
    weight = torch.ones(1, *SHAPE)
    return Features(torch.from_numpy(values).float(), weight, Lattice(SHAPE, (1, 1, 1), SPACING))


def _search(fixed, moving, base=None, **settings):
    base = torch.zeros(3, *SHAPE) if base is None else base
    chosen = {"min_overlap": 0.3, "least_gain": 0.005, "keep": 2} | settings
    return search_start(_features(fixed), _features(moving), base, RANGE_MM, **chosen)


@pytest.mark.parametrize("shift", [(3, -5, 7), (0, 0, -19), (8, 0, 0), (0, -9, 12)])
def test_a_planted_translation_is_found_within_reach_of_the_discrete_stage(shift, rng):
    fixed, moving = shifted_pair(SHAPE, shift, rng, sigma=3.0, channels=3)
    found = _search(fixed, moving)
    error_mm = np.abs(np.subtract(found.translation, shift)) * SPACING
    assert np.all(error_mm <= 36.0)
    assert found.finalists[0].distance <= found.identity.distance


def test_images_that_agree_stay_where_they_are(rng):
    fixed, _ = shifted_pair(SHAPE, (0, 0, 0), rng, sigma=3.0, channels=3)
    found = _search(fixed, fixed)
    assert found.translation == (0.0, 0.0, 0.0)
    assert found.margin > 0


def test_the_displacement_so_far_is_continued(rng):
    shift = (0, 0, 14)
    fixed, moving = shifted_pair(SHAPE, shift, rng, sigma=3.0, channels=3)
    base = torch.zeros(3, *SHAPE)
    base[2] = 14.0
    assert _search(fixed, moving, base).translation == (0.0, 0.0, 0.0)


def test_a_small_gain_is_no_reason_to_move(rng):
    fixed, moving = shifted_pair(SHAPE, (0, 0, 12), rng, sigma=3.0, channels=3)
    assert _search(fixed, moving, least_gain=1.0).translation == (0.0, 0.0, 0.0)


def test_as_many_candidates_go_on_as_were_asked_for_unless_they_are_hopeless(rng):
    """Of unrelated images all are alike; where images agree, everything but no translation is hopeless."""
    fixed, _ = shifted_pair(SHAPE, (0, 0, 0), rng, sigma=3.0, channels=3)
    other, _ = shifted_pair(SHAPE, (0, 0, 0), rng, sigma=3.0, channels=3)
    assert len(_search(fixed, other, keep=3).finalists) > len(_search(fixed, other, keep=1).finalists)
    assert len(_search(fixed, fixed, keep=3).finalists) == len(_search(fixed, fixed, keep=1).finalists)
