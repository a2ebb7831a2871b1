import numpy as np
import pytest
import torch
from core_reference import SHIFT, SPACING, positions, sample, shifted_pair, smooth_displacement

from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.start.hypotheses import Hypothesis, candidate_translations, choose, judge_translations

SHAPE = (12, 16, 20)
ONES = np.ones((1, *SHAPE))


def _features(values, weight=ONES):
    return Features(
        torch.from_numpy(values).float(),
        torch.from_numpy(weight).float(),
        Lattice(SHAPE, (1, 1, 1), SPACING),
    )


def test_candidates_are_symmetric_multiples_of_the_step():
    # Range 5 in steps of 2: -4 .. 4; range 0: 0; range 3 in steps of 3: -3, 0, 3.
    found = candidate_translations((5, 0, 3), (2, 1, 3))
    assert found == [(float(a), 0.0, float(c)) for a in (-4, -2, 0, 2, 4) for c in (-3, 0, 3)]


@pytest.mark.parametrize("shift", [SHIFT, (-3, 5, 0), (0, -5, -7)])
def test_the_planted_translation_wins(shift, rng):
    fixed, moving = shifted_pair(SHAPE, shift, rng, sigma=1.0, channels=2)
    flips = [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1), (0, 0, 0)]
    candidates = sorted({tuple(float(f * t) for f, t in zip(flip, shift, strict=True)) for flip in flips})
    judged = judge_translations(
        _features(fixed), _features(moving), candidates, (1, 1, 1), base=torch.zeros(3, *SHAPE)
    )
    best = choose(judged, min_overlap=0.2)
    assert best.translation == shift
    assert best.distance < 0.1 * np.median([h.distance for h in judged])
    # A whole-cell translation keeps prod (1 - |t| / n) of a full field of view.
    expected = np.prod([1 - abs(t) / n for t, n in zip(shift, SHAPE, strict=True)])
    assert best.overlap == pytest.approx(expected, abs=0.1)


def test_translations_come_on_top_of_the_base(rng):
    fixed, moving = shifted_pair(SHAPE, SHIFT, rng, sigma=1.0, channels=2)
    base = torch.tensor([3.0, -5.0, 0.0]).view(3, 1, 1, 1).expand(3, *SHAPE)
    candidates = [(0.0, 0.0, float(k)) for k in (-7, 0, 7)]
    judged = judge_translations(_features(fixed), _features(moving), candidates, (1, 1, 1), base=base)
    assert choose(judged, min_overlap=0.1).translation == (0, 0, 7)


def test_what_the_discrete_stage_makes_of_it_decides(rng):
    # The truth is a translation and a deformation of up to 2 cells; the right translation still wins.
    _, moving = shifted_pair(SHAPE, (0, 0, 0), rng, sigma=1.2, channels=3)
    truth = smooth_displacement(SHAPE, rng, 2.0, sigma=4.0) + np.reshape((0, 0, 4), (3, 1, 1, 1))
    fixed = sample(moving, positions(SHAPE) + truth)
    candidates = [(0.0, 0.0, float(k)) for k in (-8, -4, 0, 4, 8)]
    judged = judge_translations(
        _features(fixed), _features(moving), candidates, (2, 2, 1), base=torch.zeros(3, *SHAPE)
    )
    assert choose(judged, min_overlap=0.2).translation == (0, 0, 4)


def test_overlap_counts_common_foreground(rng):
    values = rng.standard_normal((2, *SHAPE))
    fixed_weight, moving_weight = np.zeros_like(ONES), np.zeros_like(ONES)
    fixed_weight[:, 2:8, 4:12, 6:16] = 1  # 480 cells
    moving_weight[:, 2:8, 4:12, 11:16] = 1  # 240, all common at translation 0
    judged = judge_translations(
        _features(values, fixed_weight),
        _features(values, moving_weight),
        [(0.0, 0.0, 0.0)],
        (0, 0, 0),
        base=torch.zeros(3, *SHAPE),
    )
    assert judged == [Hypothesis((0.0, 0.0, 0.0), 0.0, 1.0)]


def test_choice():
    near, far, best = (
        Hypothesis((0.0,), 0.5, 0.8),
        Hypothesis((1.0,), 0.1, 0.3),
        Hypothesis((2.0,), 0.4, 0.6),
    )
    assert choose([near, far, best], min_overlap=0.5) is best
    assert choose([near, far, best], min_overlap=0.3) is far
    assert choose([near, far, best], min_overlap=0.9) is near  # none overlaps enough: the most overlap
