import numpy as np
import pytest
import torch
from core_reference import SHAPE

from dinoreg.encoders.ensemble import REFERENCE_ENERGY, scale_pair
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice, pool

STRIDE = (2, 3, 4)


def _lattice(stride, shape=SHAPE):
    return Lattice(shape, stride, tuple(1.5 * s for s in stride))


def _features(rng, stride=STRIDE, channels=3, shape=SHAPE, scale=1.0, offset=0.0):
    lattice = _lattice(stride, shape)
    values = scale * rng.standard_normal((channels, *lattice.shape)) + offset
    weight = rng.uniform(size=(1, *lattice.shape))
    return Features(torch.from_numpy(values).float(), torch.from_numpy(weight).float(), lattice)


def test_on_a_coarser_lattice_pools_values_and_weight(rng):
    features = _features(rng)
    coarse = features.on(_lattice((4, 3, 12)))
    assert coarse.lattice.stride == (4, 3, 12)
    torch.testing.assert_close(coarse.values, pool(features.values, (2, 1, 3)))
    torch.testing.assert_close(coarse.weight, pool(features.weight, (2, 1, 3)))
    assert coarse.values.shape[1:] == coarse.lattice.shape


def test_on_a_lattice_that_does_not_fit_is_refused(rng):
    with pytest.raises(ValueError, match=r"\(4, 4, 4\) is no multiple of \(2, 3, 4\)"):
        _features(rng).on(_lattice((4, 4, 4)))


def test_a_block_is_the_same_cells(rng):
    features = _features(rng)
    block = features.block([(4, 16), (3, 26), (8, 34)])  # cells 2..7, 1..8 (to the edge), 2..8 (to the edge)
    assert block.lattice.image_shape == (12, 23, 26)
    assert block.lattice.stride == STRIDE
    assert block.values.shape == (3, *block.lattice.shape) == (3, 6, 8, 7)
    assert torch.equal(block.values, features.values[:, 2:8, 1:9, 2:9])
    assert torch.equal(block.weight, features.weight[:, 2:8, 1:9, 2:9])


def test_scaled_pair_has_the_reference_energy(rng):
    fixed, moving = _features(rng, scale=30.0, offset=7.0), _features(rng, scale=5.0)
    a, b = scale_pair(fixed, moving)
    # E |a(x) - b(y)|^2 over independent x and y, drawn by weight: measured over all pairs of cells.
    va, vb = a.values.flatten(1).double().numpy(), b.values.flatten(1).double().numpy()
    wa, wb = a.weight.flatten().double().numpy(), b.weight.flatten().double().numpy()
    squared = ((va[:, :, None] - vb[:, None, :]) ** 2).sum(axis=0)
    assert (squared * np.outer(wa, wb)).sum() / np.outer(wa, wb).sum() == pytest.approx(REFERENCE_ENERGY)
    ratio = a.values / fixed.values
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio.mean())))
    torch.testing.assert_close(b.values / moving.values, ratio)
    assert a.weight is fixed.weight


def test_features_without_energy_or_foreground_are_left_alone(rng):
    fixed = _features(rng)
    nothing = Features(torch.zeros_like(fixed.values), fixed.weight, fixed.lattice)
    assert all(not features.values.any() for features in scale_pair(nothing, nothing))
    empty = Features(fixed.values, torch.zeros_like(fixed.weight), fixed.lattice)
    for features in scale_pair(empty, empty):
        assert torch.equal(features.values, fixed.values)


def test_constant_features_far_from_zero_are_left_alone(rng):
    # Their variance is what float32 rounding leaves; scaled up it would be taken for structure.
    fixed = _features(rng)
    constant = Features(torch.full_like(fixed.values, 1000.1), fixed.weight, fixed.lattice)
    for features in scale_pair(constant, constant):
        assert torch.equal(features.values, constant.values)
