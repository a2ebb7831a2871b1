import itertools

import numpy as np
import pytest
import torch
from core_reference import SHIFT, SPACING, shifted_pair

from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.start.translation import search_translation


def _features(values, weight):
    shape = values.shape[1:]
    lattice = Lattice(shape, (1,) * len(shape), SPACING[: len(shape)])
    return Features(torch.from_numpy(values).float(), torch.from_numpy(weight).float(), lattice)


def _brute_force(fixed, moving, min_overlap):
    """Mean weighted squared distance of every translation with enough overlap; the best."""
    fv, fw = fixed.values.double().numpy(), fixed.weight[0].double().numpy()
    mv, mw = moving.values.double().numpy(), moving.weight[0].double().numpy()
    shape, best = fw.shape, (np.inf, None)
    for t in itertools.product(*(range(-n + 1, n) for n in shape)):
        a = tuple(slice(max(0, -d), min(n, n - d)) for d, n in zip(t, shape, strict=True))
        b = tuple(slice(max(0, d), min(n, n + d)) for d, n in zip(t, shape, strict=True))
        weight = fw[a] * mw[b]
        if weight.sum() >= max(min_overlap * min(fw.sum(), mw.sum()), 1e-3):
            squared = ((fv[(slice(None), *a)] - mv[(slice(None), *b)]) ** 2).sum(axis=0)
            best = min(best, ((squared * weight).sum() / weight.sum(), t))
    return best[1] or (0,) * len(shape)


@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 1, 9), (8, 11)])
@pytest.mark.parametrize("min_overlap", [0.031, 0.231, 0.571])
@pytest.mark.parametrize("binary", [True, False])
def test_equals_brute_force(shape, min_overlap, binary, rng):
    for _ in range(3):
        values = [rng.standard_normal((2, *shape)) for _ in range(2)]
        weights = [rng.uniform(size=(1, *shape)) for _ in range(2)]
        if binary:
            weights = [w > 0.4 for w in weights]
        pair = [_features(v, w.astype(float)) for v, w in zip(values, weights, strict=True)]
        found = search_translation(*pair, min_overlap=min_overlap)
        assert tuple(found.tolist()) == _brute_force(*pair, min_overlap)


@pytest.mark.parametrize("shift", [SHIFT, (-3, 5, -7), (9, 0, -20)])
def test_finds_a_planted_translation(shift, rng):
    fixed, moving = shifted_pair((20, 26, 34), shift, rng, sigma=1.0, channels=3)
    ones = np.ones((1, 20, 26, 34))
    found = search_translation(_features(fixed, ones), _features(moving, ones), min_overlap=0.1)
    assert tuple(found.tolist()) == shift


def test_what_lies_outside_the_foregrounds_does_not_count(rng):
    fixed, moving = shifted_pair((12, 14, 16), (2, -3, 4), rng, sigma=1.0, channels=3)
    weights = [np.zeros((1, 12, 14, 16)) for _ in range(2)]
    weights[0][:, 3:9, 4:11, 3:10] = 1
    weights[1][:, 5:11, 1:8, 7:14] = 1
    pair = []
    for values, weight in zip((fixed, moving), weights, strict=True):
        values = np.where(weight > 0, values, 30 * rng.standard_normal(values.shape))
        pair.append(_features(values, weight))
    assert search_translation(*pair, min_overlap=0.8).tolist() == [2, -3, 4]


def test_no_foreground_gives_no_translation(rng):
    values = rng.standard_normal((2, 5, 6, 7))
    empty = _features(values, np.zeros((1, 5, 6, 7)))
    assert search_translation(empty, empty, min_overlap=0.5).tolist() == [0, 0, 0]
