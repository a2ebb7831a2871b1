import numpy as np
import torch
from core_reference import SPACING, affine_displacement, central_half, positions, sample, smooth_noise

from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.start.affine import fit_affine

SHAPE = (14, 16, 22)
MATRIX = np.array([[0.06, 0.05, 0.0], [-0.05, -0.04, 0.03], [0.02, 0.0, 0.05]])


def _features(values, weight=None):
    weight = np.ones((1, *SHAPE)) if weight is None else weight
    return Features(
        torch.from_numpy(values).float(),
        torch.from_numpy(weight).float(),
        Lattice(SHAPE, (1, 1, 1), SPACING),
    )


def _error(found, truth):
    box = (slice(None), *central_half(SHAPE))
    return float(np.median(np.sqrt(((found.numpy() - truth)[box] ** 2).sum(axis=0))))


def _fit(fixed, moving, start=None, **changes):
    start = torch.zeros(3, *SHAPE) if start is None else start
    settings = {"iterations": 40, "learning_rate": 0.1, "min_overlap": 0.4}
    return fit_affine(fixed, moving, start, **(settings | changes))


def test_recovers_a_small_affine_with_a_large_translation(rng):
    truth = affine_displacement(MATRIX, (2, -3, 4), SHAPE)
    moving = smooth_noise(SHAPE, rng, sigma=2.0, channels=3)
    fixed = sample(moving, positions(SHAPE) + truth)
    found = _fit(_features(fixed), _features(moving))
    assert _error(torch.zeros(3, *SHAPE), truth) > 4
    assert _error(found, truth) < 0.1


def test_the_affine_is_applied_before_the_start(rng):
    # u(x) = A x + s(x + A x)
    start = torch.zeros(3, *SHAPE)
    start[0] = 3 * torch.sin(torch.arange(SHAPE[2]) / 3)
    matrix = MATRIX.copy()
    matrix[2] = 0.10, -0.08, 0.05
    affine = affine_displacement(matrix, (0.2, -0.2, 0.4), SHAPE)  # no whole cell, or it is found first
    truth = affine + sample(start.numpy(), positions(SHAPE) + affine)
    moving = smooth_noise(SHAPE, rng, sigma=2.0, channels=3)
    fixed = sample(moving, positions(SHAPE) + truth)
    found = _fit(_features(fixed), _features(moving), start)
    off = _error(start + torch.from_numpy(affine), truth)  # that of the sum
    assert off > 0.15
    assert _error(found, truth) < 0.5 * off


def test_a_good_start_is_not_left_for_a_worse_translation(rng):
    moving = smooth_noise(SHAPE, rng, sigma=2.0, channels=3)
    found = _fit(_features(moving), _features(moving), iterations=1, learning_rate=1e-6)
    assert float(found.abs().max()) < 1e-4
