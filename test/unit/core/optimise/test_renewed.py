"""Rounds of an optimisation with features of moving where it was brought."""

import math
from dataclasses import replace

import pytest
import torch

from dinoreg.encoders.pair import PairFeatures
from dinoreg.errors import ConfigError
from dinoreg.optimise.data_term import warp_linear
from dinoreg.optimise.instance.renewed import RenewedOptimisation, share_by_voxels
from dinoreg.optimise.instance.stage import AdamFacts
from dinoreg.settings.config import Adam, Renewed
from dinoreg.settings.load import load_preset
from dinoreg.space.compose import compose
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import pool
from dinoreg.space.separable import apply_along_axes, box_matrix

SHAPE, SPACING = (32, 28, 36), (2.0, 2.5, 2.0)
FRAME = Frame(SHAPE, SPACING, tuple((0, n) for n in SHAPE))
WIDE = FRAME.lattice((2, 2, 2))


def stage(rounds=1, share=1.0, weight=0.1):
    settings = Renewed(rounds=rounds, iterations=30)
    return RenewedOptimisation(settings, Adam(learning_rate=0.2), WIDE, False, False, weight, share)


@pytest.fixture(scope="module")
def texture():
    noise = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))
    smooth = apply_along_axes(noise, [box_matrix(n, 5, 3) for n in SHAPE])
    return smooth / smooth.std() / 3


@pytest.fixture(scope="module")
def truth():
    """(3, *SHAPE) voxels: a shift and a wave."""
    wave = torch.sin(torch.arange(SHAPE[2]) * 2 * math.pi / 24).expand(SHAPE)
    return torch.stack([1.5 + 0 * wave, -1.0 + wave, 0.7 * wave])


def seen(fixed, moving):
    weight = torch.ones(1, *WIDE.shape)
    both = [Features(pool(v, WIDE.stride), weight, WIDE) for v in (fixed, moving)]
    return PairFeatures((FeaturePair(*both, (Part("mind", 6, 1.0),)),), (1.0,))


def run(one, start, fixed, moving):
    """Run rounds, each on moving read where the ones before brought it."""
    calls = []

    def renewed(found):
        calls.append(found)
        return seen(fixed, warp_linear(moving, found.on(FRAME.voxels).vectors))

    features = replace(seen(fixed, moving), renewed=renewed)
    return one.run(Deformation(start, WIDE), features, FRAME), calls


def error(found, truth):
    inner = (slice(None), *(slice(6, -6),) * 3)
    return float((found - truth)[inner].norm(dim=0).mean())


def test_rounds_find_what_is_left_and_add_it_after_what_was_found(texture, truth):
    fixed = warp_linear(texture, truth)
    start = pool(truth, WIDE.stride) / 2 * 0.6
    before = error(Deformation(start, WIDE).on(FRAME.voxels).vectors, truth)
    result, calls = run(stage(rounds=2), start, fixed, texture)
    assert result.deformation.lattice == FRAME.voxels
    assert error(result.deformation.vectors, truth) < 0.5 * before
    assert len(calls) == len(result.facts.rounds) == 2
    once, _ = run(stage(rounds=1), start, fixed, texture)
    torch.testing.assert_close(calls[1].vectors, once.deformation.vectors)
    # Each is half an optimisation by itself: read where the first one leads, then moved on from there.
    assert error(once.deformation.vectors, truth) > error(result.deformation.vectors, truth)


def test_what_was_found_is_read_where_a_round_leads(texture, truth):
    always = seen(warp_linear(texture, truth), texture)
    features = replace(always, renewed=lambda _: always)
    start = Deformation(pool(truth, WIDE.stride), WIDE)
    nowhere = Deformation.identity(WIDE)
    step, found = (stage().run(one, features, FRAME).deformation.vectors for one in (nowhere, start))
    torch.testing.assert_close(found, compose(step, start.on(FRAME.voxels).vectors))


def test_only_a_share_of_a_round_is_taken(texture, truth):
    fixed, start = warp_linear(texture, truth), torch.zeros(3, *WIDE.shape)
    whole, half = (run(stage(share=share), start, fixed, texture)[0] for share in (1.0, 0.5))
    torch.testing.assert_close(half.deformation.vectors, 0.5 * whole.deformation.vectors)
    assert half.facts.share == 0.5


@pytest.mark.parametrize(
    ("gain", "share"), [(None, None), (0.03, None), (0.04, 0.25), (0.05, 0.5), (0.2, 0.5)]
)
def test_how_much_is_taken_follows_from_what_less_smoothness_gained(gain, share):
    facts = AdamFacts(40, (), regularity_weight=0.9, held_out_gain=gain)
    found = stage(share=0.5).after(facts)
    assert (found and found.share) == (share and pytest.approx(share))
    if found:
        assert found.regularity_weight == pytest.approx(2.0 * 0.9)


@pytest.mark.parametrize(
    ("shape", "spacing", "share"),
    [
        ((9, 9, 9), (1.5, 1.5, 1.5), 1.0),
        ((9, 9, 9), (1.0, 2.0, 1.5), 1.0),
        ((9, 9, 9), (3.0, 1.0, 1.0), 0.5),
        ((9, 9, 9), (0.7, 0.7, 6.5), 0.0),
        ((9, 9, 1), (1.0, 1.0, 8.0), 1.0),
        ((1, 1, 1), (1.0, 1.0, 8.0), 1.0),
    ],
)
def test_thick_slices_are_not_read_once_more(shape, spacing, share):
    assert share_by_voxels(shape, spacing) == pytest.approx(share)


def test_it_takes_a_stage_to_go_on_from():
    with pytest.raises(ConfigError, match="renewed takes an adam stage of kind own"):
        load_preset("auto", ["adam=[]"])
    with pytest.raises(ConfigError, match="renewed takes encoders that are concatenated"):
        load_preset("mind+intensity", ["renewed.rounds=1", "features.ensemble=average"])
