import numpy as np
import pytest
import torch
from core_reference import SPACING, central_half, positions, sample, shifted_pair, smooth_noise

from dinoreg.encoders.ensemble import scale_pair
from dinoreg.optimise.discrete import search_convex
from dinoreg.space.features import Features, warp_features
from dinoreg.space.lattice import Lattice

SHAPE = (14, 18, 22)
LATTICE = Lattice(SHAPE, (1, 1, 1), SPACING)


def _features(values, weight=None):
    weight = np.ones((1, *SHAPE), dtype=np.float32) if weight is None else weight
    return Features(torch.from_numpy(values), torch.from_numpy(weight), LATTICE)


def _constant(shift):
    return torch.tensor(shift, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()


def _median(found):
    return found[(slice(None), *central_half(SHAPE))].flatten(1).median(dim=1).values


def test_warp_features_reads_at_the_displaced_position(rng):
    features = _features(smooth_noise(SHAPE, rng, channels=3), rng.uniform(size=(1, *SHAPE)).astype("f4"))
    displacement = (2.5 * rng.standard_normal((3, *SHAPE))).astype(np.float32)
    at = positions(SHAPE) + displacement
    found = warp_features(features, torch.from_numpy(displacement))
    np.testing.assert_allclose(found.values, sample(features.values.numpy(), at), atol=1e-4)
    sizes = np.reshape(SHAPE, (3, 1, 1, 1))
    inside = ((at > -0.5) & (at < sizes - 0.5)).all(axis=0)
    np.testing.assert_allclose(found.weight, sample(features.weight.numpy(), at) * inside, atol=1e-4)
    assert 0.1 < inside.mean() < 0.95


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("consistency_iterations", [0, 15])
def test_recovers_a_shift_with_its_sign(masked, consistency_iterations, rng):
    fixed, moving = (_features(v) for v in shifted_pair(SHAPE, (2, -3, 4), rng, sigma=1.0, channels=2))
    settings = {"consistency_iterations": consistency_iterations, "masked": masked}
    forward = search_convex(fixed, moving, _constant((0, 0, 0)), (2, 3, 4), **settings)
    backward = search_convex(moving, fixed, _constant((0, 0, 0)), (2, 3, 4), **settings)
    np.testing.assert_allclose(_median(forward), [2, -3, 4], atol=0.02)
    np.testing.assert_allclose(_median(backward), [-2, 3, -4], atol=0.02)


def test_the_search_is_centred_on_the_start(rng):
    # (3, -5, 7) is out of reach of radius 1 but for a start one cell away on every axis.
    fixed, moving = (_features(v) for v in shifted_pair(SHAPE, (3, -5, 7), rng, sigma=1.0, channels=2))
    found = search_convex(fixed, moving, _constant((2, -4, 6)), (1, 1, 1), consistency_iterations=0)
    np.testing.assert_allclose(_median(found), [3, -5, 7], atol=0.02)


def test_the_start_is_composed_not_added(rng):
    # moving(x + s(x)) = moved(x); fixed(x) = moved(x + t): u(x) = t + s(x + t), not t + s(x).
    start = _constant((0, 0, 0))
    start[0] = 0.25 * torch.arange(SHAPE[2], dtype=torch.float32)
    moving = smooth_noise(SHAPE, rng, sigma=1.0, channels=3)
    moved = sample(moving, positions(SHAPE) + start.numpy())
    fixed = sample(moved, positions(SHAPE) + np.reshape((0, 0, 3), (3, 1, 1, 1))).astype(np.float32)
    found = search_convex(_features(fixed), _features(moving), start, (0, 0, 3), consistency_iterations=0)
    box = (slice(None), *central_half(SHAPE))
    error = (found[0] - (start[0] + 0.25 * 3))[box[1:]]
    assert abs(float(error.median())) < 1e-3
    np.testing.assert_allclose(_median(found)[1:], [0, 3], atol=1e-3)


def test_the_magnitude_of_the_features_does_not_matter_after_scaling(rng):
    a, b = shifted_pair(SHAPE, (1, -2, 3), rng, sigma=1.0, channels=3)
    b = b + 0.5 * smooth_noise(SHAPE, rng, sigma=1.0, channels=3)

    def run(factor):
        pair = scale_pair(_features(np.float32(factor) * a), _features(np.float32(factor) * b))
        return search_convex(*pair, _constant((0, 0, 0)), (2, 2, 3), consistency_iterations=5)

    torch.testing.assert_close(run(100.0), run(1.0), atol=1e-4, rtol=0)

    unscaled = [
        search_convex(
            _features(np.float32(f) * a), _features(np.float32(f) * b), _constant((0, 0, 0)), (2, 2, 3),
            consistency_iterations=5,
        )
        for f in (1.0, 100.0)
    ]  # fmt: skip
    assert (unscaled[0] - unscaled[1]).abs().max() > 0.1


def test_what_lies_outside_the_foreground_does_not_pull(rng):
    # Two halves: the foreground moved by (0, 0, 2); the rest, without foreground, by (0, 3, -3).
    whole = [shifted_pair(SHAPE, s, rng, sigma=1.0, channels=2) for s in ((0, 0, 2), (0, 3, -3))]
    fixed, moving = (np.concatenate([whole[0][i][:, :6], whole[1][i][:, 6:]], axis=1) for i in (0, 1))
    weight = np.zeros((1, *SHAPE), dtype=np.float32)
    weight[:, :6] = 1
    pair = _features(fixed, weight), _features(moving, weight)
    inside = (slice(None), slice(2, 5), slice(4, 14), slice(4, 18))
    found = search_convex(*pair, _constant((0, 0, 0)), (1, 3, 3), consistency_iterations=0)
    np.testing.assert_allclose(found[inside].flatten(1).mean(dim=1), [0, 0, 2], atol=0.05)
    beyond = (slice(None), slice(8, 12), slice(4, 14), slice(4, 18))
    loose = search_convex(*pair, _constant((0, 0, 0)), (1, 3, 3), consistency_iterations=0, masked=False)
    np.testing.assert_allclose(loose[beyond].flatten(1).mean(dim=1), [0, 3, -3], atol=0.3)
    assert float((found - loose)[beyond].abs().mean()) > 1


def test_a_plane(rng):
    shape = (18, 22)
    fixed, moving = shifted_pair(shape, (3, -5), rng, sigma=1.0, channels=3)
    lattice = Lattice(shape, (1, 1), (1.5, 0.8))
    ones = torch.ones(1, *shape)
    pair = (Features(torch.from_numpy(v), ones, lattice) for v in (fixed, moving))
    found = search_convex(*pair, torch.zeros(2, *shape), (3, 5), consistency_iterations=5)
    box = (slice(None), *central_half(shape))
    np.testing.assert_allclose(found[box].flatten(1).median(dim=1).values, [3, -5], atol=0.05)


def test_warp_features_keeps_the_lattice(rng):
    features = _features(smooth_noise(SHAPE, rng, channels=1))
    assert warp_features(features, _constant((1, 0, 0))).lattice is features.lattice
