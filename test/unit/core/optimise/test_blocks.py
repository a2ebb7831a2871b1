"""Some channels at a time: the same number and gradient, with the memory of a block."""

import math

import numpy as np
import pytest
import torch
from core_reference import smooth_noise

from dinoreg.optimise.blocks.terms import lcc_by_blocks, ssd_by_blocks, sum_in_turn
from dinoreg.optimise.data_term import ssd_term, warp_and_compare
from dinoreg.optimise.similarity import lcc, lcc_floor
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.lattice import Lattice

SHAPE = (10, 11, 12)
PARTS = (Part("a", 2, 0.9), Part("b", 5, 0.1))


def _pair(rng, dtype=torch.float32):
    lattice = Lattice(SHAPE, (1, 1, 1), (1.0, 1.0, 1.0))
    scale = torch.tensor([9.0, 9.0, 0.1, 0.1, 0.1, 0.1, 0.1]).view(-1, 1, 1, 1)
    values = [torch.from_numpy(smooth_noise(SHAPE, rng, sigma=1.0, channels=7)) * scale for _ in range(2)]
    weight = torch.from_numpy(rng.uniform(size=(1, *SHAPE))).float()
    return FeaturePair(*(Features(v.to(dtype), weight.to(dtype), lattice) for v in values), PARTS)


def _at(term, rng, dtype=torch.float32):
    """Value and gradient at a displacement."""
    u = torch.from_numpy(0.7 * rng.standard_normal((3, *SHAPE))).to(dtype).requires_grad_()
    value = term(u)
    return float(value.detach()), torch.autograd.grad(value, u)[0]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_correlation_by_blocks_is_that_of_each_part_at_once(channels, keep, rng):
    pair = _pair(rng)
    weight = pair.fixed.weight

    def whole(u):
        groups = (slice(0, 2), slice(2, 7))
        terms = (
            warp_and_compare(lcc(pair.fixed.values[g], window=5), pair.moving.values[g], weight=weight)
            for g in groups
        )
        return sum(part.share * term(u) for part, term in zip(PARTS, terms, strict=True))

    expected, wanted = _at(whole, np.random.default_rng(1))
    term = lcc_by_blocks(pair, channels, window=5, weight=weight, keep=keep)
    found, gradient = _at(term, np.random.default_rng(1))
    assert found == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    assert float(term(torch.zeros(3, *SHAPE))) == pytest.approx(float(whole(torch.zeros(3, *SHAPE))), 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # float64: as on a GPU
@pytest.mark.parametrize("channels", [1, 3])
def test_squared_distance_by_blocks(channels, dtype, rng):
    pair = _pair(rng, dtype)
    whole = ssd_term(pair.fixed.values, pair.moving.values, weight=pair.fixed.weight)
    expected, wanted = _at(whole, np.random.default_rng(1), dtype)
    term = ssd_by_blocks(pair, channels, weight=pair.fixed.weight)
    found, gradient = _at(term, np.random.default_rng(1), dtype)
    assert found == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


def test_the_floor_of_a_block_is_that_of_its_part(rng):
    """A flat channel beside a strong one stays without say, also in a block of its own."""
    values = torch.from_numpy(smooth_noise(SHAPE, rng, channels=5))
    values[3:] *= 1e-4
    together = lcc_floor(values, window=5)
    assert float(lcc_floor(values, window=5, channels=2)) == pytest.approx(float(together), rel=1e-5)
    assert float(lcc_floor(values[3:], window=5)) < 1e-6 * float(together)


def test_a_single_term_comes_back_as_it_is():
    term = torch.sum
    assert sum_in_turn([term]) is term


def test_what_a_term_keeps_is_freed_before_the_next(rng):
    alive, most = 0, 0

    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return u.sum()

        @staticmethod
        def backward(ctx, gradient):
            nonlocal alive
            alive -= 1
            return gradient.expand(3, *SHAPE)

    value, gradient = _at(sum_in_turn([Kept.apply] * 4), rng)
    assert most == 1
    assert math.isfinite(value)
    torch.testing.assert_close(gradient, torch.full((3, *SHAPE), 4.0))
