"""Compiled CPU kernels of displacements against numpy in float64 and torch's own Adam."""

import numpy as np
import pytest
import torch

from dinoreg.optimise.adam import AdamStep
from dinoreg.optimise.regularise import diffusion
from dinoreg.space.jacobian import jacobian_determinant
from dinoreg.space.kernels import fields
from dinoreg.space.kernels.choice import field_kernels

SHAPES = [(7, 12, 9), (5, 1, 33), (1, 6, 4), (4, 3, 1), (4, 3, 2), (1, 1, 1)]
SPACING_MM = (2.0, 0.7, 3.5)


def displacement(shape, rng):
    return rng.standard_normal((3, *shape)) * 0.4 + np.array((3, -5, 7)).reshape(3, 1, 1, 1)


def test_they_serve_displacements_of_three_dimensions_in_single_precision():
    assert field_kernels(torch.zeros(3, 4, 5, 6)) is fields
    for other in (torch.zeros(2, 4, 5), torch.zeros(3, 4, 5, 6).double(), torch.zeros(1, 4, 5, 6)):
        assert field_kernels(other) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_determinant(shape, rng):
    u = displacement(shape, rng)
    slopes = [np.gradient(u, axis=a + 1) if n > 1 else np.zeros_like(u) for a, n in enumerate(shape)]
    expected = np.linalg.det(np.moveaxis(np.stack(slopes, axis=1), (0, 1), (-2, -1)) + np.eye(3))
    found = jacobian_determinant(torch.from_numpy(u.astype(np.float32)))
    np.testing.assert_allclose(found, expected, atol=3e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_diffusion_and_its_gradient(shape, rng):
    u = displacement(shape, rng)
    expected, squared = 0.0, np.square(SPACING_MM).reshape(3, 1, 1, 1)
    gradient = np.zeros_like(u)
    for axis, step in enumerate(SPACING_MM, start=1):
        if u.shape[axis] > 1:
            slope = np.diff(u, axis=axis)
            expected += (slope**2 * squared).mean() / step**2
            part = 2 * slope * squared / (slope.size * step**2)
            edge = [(0, 0)] * 4
            edge[axis] = (1, 1)
            gradient -= np.diff(np.pad(part, edge), axis=axis)
    own = torch.from_numpy(u.astype(np.float32)).requires_grad_()
    found = diffusion(own, SPACING_MM)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5)
    (slope,) = torch.autograd.grad(3 * found, own)
    np.testing.assert_allclose(slope, 3 * gradient, atol=1e-5 * (np.abs(gradient).max() + 1e-9))


def test_threads_move_no_bit(rng):
    u = torch.from_numpy(displacement((21, 13, 17), rng).astype(np.float32))
    kept, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append((*fields.diffusion(u, SPACING_MM), fields.determinant(u)))
    torch.set_num_threads(kept)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_adam_steps_as_torch_does(rng):
    own = torch.from_numpy(displacement((5, 6, 7), rng).astype(np.float32)).requires_grad_()
    theirs = own.detach().clone().requires_grad_()
    step, optimiser = AdamStep([own], 0.3), torch.optim.Adam([theirs], 0.3)
    for _ in range(5):
        gradient = torch.from_numpy(rng.standard_normal(own.shape).astype(np.float32))
        step([gradient.movedim(1, 0).contiguous().movedim(0, 1)])  # whatever its order in memory
        theirs.grad = gradient
        optimiser.step()
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)
