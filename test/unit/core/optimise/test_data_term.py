import numpy as np
import pytest
import torch
from core_reference import positions, sample, smooth_displacement

from dinoreg.optimise.data_term import ssd_term, warp_and_compare
from dinoreg.optimise.similarity import ssd


def _problem(shape, rng, channels=5):
    fixed, moving = (rng.standard_normal((channels, *shape)).astype(np.float32) for _ in range(2))
    return fixed, moving, smooth_displacement(shape, rng, 3.0).astype(np.float32)


@pytest.mark.parametrize("shape", [(7, 9, 12), (11, 6), (7, 9, 1)])
@pytest.mark.parametrize("weighted", [True, False])
def test_ssd_term_by_scipy(shape, weighted, rng):
    fixed, moving, field = _problem(shape, rng)
    weight = rng.uniform(size=shape).astype(np.float32)
    weight[: shape[0] // 2] = 0
    squared = ((sample(moving, positions(shape) + field) - fixed) ** 2).sum(axis=0)
    expected = (squared * weight).sum() / weight.sum() if weighted else squared.mean()
    tensors = [torch.from_numpy(a) for a in (fixed, moving)]
    term = ssd_term(*tensors, weight=torch.from_numpy(weight)[None] if weighted else None)
    assert float(term(torch.from_numpy(field))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(7, 9, 12), (11, 6)])
@pytest.mark.parametrize("weighted", [True, False])
def test_ssd_term_equals_warp_and_compare(shape, weighted, rng):
    fixed, moving, field = (torch.from_numpy(a) for a in _problem(shape, rng))
    weight = torch.from_numpy(rng.uniform(size=(1, *shape)).astype(np.float32)) if weighted else None
    results = []
    for term in (ssd_term(fixed, moving, weight=weight), warp_and_compare(ssd(fixed), moving, weight=weight)):
        displacement = field.clone().requires_grad_()
        loss = term(displacement)
        (2 * loss).backward()
        results.append((loss.detach(), displacement.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-6)
    assert float(results[0][1].abs().max()) > 0


def test_gradient_by_finite_differences(rng):
    # In float64 by torch, so that the compiled gradient has an independent judge.
    shape = (5, 6, 7)
    fixed, moving, field = _problem(shape, rng, channels=2)
    field = np.floor(field) + 0.5  # between lattice planes, where the gradient is defined
    weight = torch.from_numpy(rng.uniform(size=(1, *shape)).astype(np.float32))
    displacement = torch.from_numpy(field).requires_grad_()
    ssd_term(torch.from_numpy(fixed), torch.from_numpy(moving), weight=weight)(displacement).backward()

    def loss(vectors):
        warped = sample(moving.astype(np.float64), positions(shape) + vectors)
        return float((((warped - fixed) ** 2).sum(axis=0) * weight[0].numpy()).sum() / weight.sum())

    for index in [(0, 2, 3, 3), (1, 1, 4, 2), (2, 3, 2, 5)]:
        step = np.zeros_like(field, dtype=np.float64)
        step[index] = 1e-3
        expected = (loss(field + step) - loss(field - step)) / 2e-3
        assert float(displacement.grad[index]) == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_a_displacement_that_is_not_a_number_does_not_crash(rng):
    fixed, moving, field = (torch.from_numpy(a) for a in _problem((5, 6, 7), rng))
    field[:, 2, 3, 4] = float("nan")
    assert torch.isfinite(ssd_term(fixed, moving)(field.requires_grad_()))
