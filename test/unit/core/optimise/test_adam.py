import numpy as np
import pytest
import torch
from core_reference import central_half, positions, sample, smooth_displacement, smooth_noise

from dinoreg.optimise.adam import STOP_WINDOW, AdamStep, refine_adam
from dinoreg.optimise.data_term import ssd_term, warp_and_compare
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.similarity import lcc

SHAPE = (14, 18, 24)
SPACING = (1.0, 1.0, 1.0)


def _problem(rng, shape=SHAPE, amplitude=2.0):
    truth = smooth_displacement(shape, rng, amplitude, sigma=4.0)
    moving = smooth_noise(shape, rng, sigma=1.5, channels=3)
    fixed = sample(moving, positions(shape) + truth).astype(np.float32)
    return truth, torch.from_numpy(fixed), torch.from_numpy(moving)


def _refine(fixed, moving, *, weight=None, **changes):
    shape = moving.shape[1:]
    settings = {
        "regularity_weight": 0.1,
        "spacing_mm": SPACING[: len(shape)],
        "iterations": 60,
        "learning_rate": 0.1,
    }
    model = SmoothedDense(torch.zeros(len(shape), *shape), width=3, repeats=3)
    return refine_adam(model, ssd_term(fixed, moving, weight=weight), **(settings | changes))


def _error(found, truth):
    """Median length of the error in the central half, voxels."""
    box = (slice(None), *central_half(truth.shape[1:]))
    return float(np.median(np.sqrt(((found.numpy() - truth)[box] ** 2).sum(axis=0))))


@pytest.mark.parametrize("name", ["ssd", "lcc"])
def test_recovers_a_smooth_displacement(name, rng):
    truth, fixed, moving = _problem(rng)
    term = ssd_term(fixed, moving) if name == "ssd" else warp_and_compare(lcc(fixed, window=7), moving)
    found, trace = refine_adam(
        SmoothedDense(torch.zeros(3, *SHAPE), width=3, repeats=3),
        term,
        regularity_weight=0.1 if name == "ssd" else 0.02,
        spacing_mm=SPACING,
        iterations=60,
        learning_rate=0.1,
    )
    assert _error(torch.zeros(truth.shape), truth) > 0.5
    assert _error(found, truth) < 0.1
    assert trace.iterations == 60
    assert len(trace.losses) == 6
    assert trace.losses[-1] < 0.3 * trace.losses[0]


def test_a_plane(rng):
    truth, fixed, moving = _problem(rng, shape=(30, 40))
    found, _ = _refine(fixed, moving, iterations=100)
    assert _error(found, truth) < 0.1


def test_the_weight_masks_out_a_corrupted_region(rng):
    truth, fixed, moving = _problem(rng)
    fixed[..., 16:] = torch.from_numpy(smooth_noise((14, 18, 8), rng, sigma=1.0, channels=3))
    weight = torch.ones(1, *SHAPE)
    weight[..., 16:] = 0
    clean = (slice(None), slice(3, 11), slice(4, 14), slice(7, 16))

    def error(weight):
        found, _ = _refine(fixed, moving, weight=weight)
        return float(np.median(np.sqrt(((found.numpy() - truth)[clean] ** 2).sum(axis=0))))

    masked = error(weight)
    assert masked < 0.1
    assert error(None) > 1.5 * masked


def test_more_regularity_is_smoother(rng):
    _, fixed, moving = _problem(rng)
    rough, smooth = (_refine(fixed, moving, regularity_weight=w, iterations=30)[0] for w in (0.01, 30.0))
    assert smooth.diff(dim=1).square().mean() < 0.3 * rough.diff(dim=1).square().mean()


def test_stops_early_where_nothing_is_gained(rng):
    _, fixed, moving = _problem(rng)
    _, trace = _refine(fixed, moving, stop_below=0.9)
    assert trace.iterations == 2 * STOP_WINDOW
    assert len(trace.losses) == 2
    _, longer = _refine(fixed, moving, stop_below=0.4)
    assert 2 * STOP_WINDOW < longer.iterations < 60


def test_returns_the_displacement_after_the_last_step(rng):
    _, fixed, moving = _problem(rng)
    model = SmoothedDense(torch.zeros(3, *SHAPE), width=3, repeats=1)
    found, trace = refine_adam(
        model,
        ssd_term(fixed, moving),
        regularity_weight=0.0,
        spacing_mm=SPACING,
        iterations=1,
        learning_rate=0.25,
    )
    assert trace.iterations == 1
    assert trace.losses == ()
    assert torch.equal(found, model.displacement())
    # The first step of Adam is the learning rate in every parameter with a gradient.
    assert float(model.vectors.detach().abs().median()) == pytest.approx(0.25, rel=1e-3)
    assert not found.requires_grad


def test_the_step_equals_that_of_torch():
    generator = torch.Generator().manual_seed(3)
    parameters = [torch.randn(3, 4, 5, generator=generator), torch.randn(7, generator=generator)]
    reference = [torch.nn.Parameter(p.clone()) for p in parameters]
    step, optimiser = AdamStep(parameters, 0.3), torch.optim.Adam(reference, lr=0.3)
    for scale in (1.0, 1e-9, 30.0, 0.0, 2.0):
        gradients = [scale * torch.randn(p.shape, generator=generator) for p in parameters]
        step(gradients)
        for parameter, gradient in zip(reference, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimiser.step()
        for ours, theirs in zip(parameters, reference, strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("decay", "steps"), [(False, 20.0), (True, 10.5)])
def test_the_rate_falls_along_half_a_cosine(decay, steps):
    """Down a slope Adam steps by its rate; (1 + cos(pi k / 20)) / 2 summed over k < 20 is 10.5."""
    model = SmoothedDense(torch.zeros(3, *SHAPE), width=1, repeats=0)
    found, _ = refine_adam(
        model,
        lambda displacement: displacement.sum(),
        regularity_weight=0.0,
        spacing_mm=SPACING,
        iterations=20,
        learning_rate=3.0,
        decay=decay,
    )
    np.testing.assert_allclose(found, -3.0 * steps, rtol=1e-4)


@pytest.mark.parametrize("reach", [(2.0, 3.0, 4.0), (9.0, 9.0, 9.0)])
def test_vectors_stay_within_reach(reach, rng):
    noise = [torch.from_numpy(smooth_noise(SHAPE, rng, sigma=1.0, channels=2)) for _ in range(2)]
    found, _ = _refine(*noise, iterations=40, learning_rate=3.0, regularity_weight=0.0, reach=reach)
    largest = found.abs().flatten(1).max(dim=1).values
    for axis, limit in enumerate(reach):
        assert float(largest[axis]) <= limit
    free, _ = _refine(*noise, iterations=40, learning_rate=3.0, regularity_weight=0.0)
    assert float(free.abs().max()) > 4.0  # there was something to hold back
