import numpy as np
import pytest
import torch
from core_checks import check_composition_of_affines
from core_reference import (
    SHAPE,
    central_half,
    invert,
    positions,
    sample,
    smooth_displacement,
    smooth_noise,
)

from dinoreg.space.compose import compose, symmetrise

INNER = np.array([[0.10, 0.00, 0.00], [0.00, -0.08, 0.00], [0.00, 0.00, 0.05]])
OUTER = np.array([[0.00, 0.12, 0.00], [-0.12, 0.00, 0.06], [0.00, 0.00, -0.04]])


def _norm(field):
    return np.sqrt((np.asarray(field, dtype=np.float64) ** 2).sum(axis=0))


@pytest.mark.parametrize("shape", [SHAPE, (20, 26)])
def test_one_warp_by_the_composition_equals_two_warps(shape, rng):
    inner = smooth_displacement(shape, rng, 4.0)
    outer = smooth_displacement(shape, rng, 5.0)
    image = smooth_noise(shape, rng, sigma=4.0)[None]
    twice = sample(sample(image, positions(shape) + inner), positions(shape) + outer)
    box = (slice(None), *central_half(shape))

    def error(composed):
        return np.abs(sample(image, positions(shape) + composed.numpy()) - twice)[box].mean()

    right = error(compose(torch.from_numpy(outer), torch.from_numpy(inner)))
    wrong = error(compose(torch.from_numpy(inner), torch.from_numpy(outer)))
    assert right < 0.02
    assert wrong > 4 * right


def test_affines_that_do_not_commute():
    check_composition_of_affines(OUTER, INNER)


def test_composition_with_the_identity_changes_nothing(rng):
    field = torch.from_numpy(smooth_displacement(SHAPE, rng, 3.0))
    zero = torch.zeros_like(field)
    torch.testing.assert_close(compose(field, zero), field)
    torch.testing.assert_close(compose(zero, field), field, atol=1e-5, rtol=0)


def test_symmetrise_constants_by_hand():
    # u = 4, v = -2: u' = (4 - (-2)) / 2 = 3 and v' = (-2 - 4) / 2 = -3, then nothing moves any more.
    forward, backward = torch.full((1, 20, 26, 34), 4.0), torch.full((1, 20, 26, 34), -2.0)
    forward, backward = (torch.cat([f, 2 * f, -f]) for f in (forward, backward))
    for iterations in (1, 2, 15):
        u, v = symmetrise(forward, backward, iterations=iterations)
        torch.testing.assert_close(u, 0.75 * forward)
        torch.testing.assert_close(v, 1.5 * backward)
    u, v = symmetrise(forward, backward, iterations=0)
    assert u is forward
    assert v is backward


def test_symmetrise_makes_an_asymmetric_pair_inverse(rng):
    field = smooth_displacement(SHAPE, rng, 2.0)
    inverse = invert(field)
    forward = field + smooth_displacement(SHAPE, rng, 0.8)
    backward = inverse + smooth_displacement(SHAPE, rng, 0.8)
    box = central_half(SHAPE)

    def inconsistency(u, v):
        return np.median(_norm(u + sample(v, positions(SHAPE) + u))[box])

    u, v = (
        t.numpy() for t in symmetrise(torch.from_numpy(forward), torch.from_numpy(backward), iterations=15)
    )
    before = inconsistency(forward, backward)
    assert inconsistency(u, v) < 0.1 * before
    assert inconsistency(v, u) < 0.1 * before
    assert np.median(_norm(u - field)[box]) < np.median(_norm(forward - field)[box])  # and near the truth
