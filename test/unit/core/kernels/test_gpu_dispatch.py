"""What the optimiser gets with Triton's kernels is what it gets from the compiled ones of a CPU."""

import numpy as np
import pytest
import torch
from core_checks import light_config
from core_reference import SPACING, shifted_pair
from triton_device import DEVICE, GPU, needs_triton

from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.blocks import room
from dinoreg.optimise.data_term import ssd_term, warp_and_compare
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.similarity import lcc
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.space import displaced, sampling
from dinoreg.space.jacobian import jacobian_determinant
from dinoreg.space.kernels import choice
from dinoreg.space.kernels.gpu import fields, launch
from dinoreg.space.kernels.gpu import sampling as kernels
from dinoreg.space.lattice import Lattice
from regtask.grid import Grid

pytestmark = [needs_triton, *([pytest.mark.gpu] if GPU else [])]
SHAPE = (7, 12, 9)
CPU = torch.device("cpu")


@pytest.fixture
def launched(monkeypatch):
    """Have Triton's kernels used wherever the tests compute; the names of those that were."""
    names = set()
    run = launch._run

    def noted(kernel, *args, **kwargs):
        names.update(n for m in (kernels, fields) for n, value in vars(m).items() if value is kernel)
        run(kernel, *args, **kwargs)

    monkeypatch.setattr(launch, "_run", noted)
    if not GPU:
        for module in (choice, displaced, room, sampling):
            monkeypatch.setattr(module, "on_gpu", lambda device: True)
    return names


def make(rng, *shape, device=CPU):
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(device)


def with_gradient(term, vectors):
    own = vectors.clone().requires_grad_()
    value = term(own)
    return value.detach().cpu(), torch.autograd.grad(value, own)[0].cpu()


def terms(shape, weighted):
    """Data terms of a CPU, and the same on the device: each with what it needs of the kernels."""
    rng = np.random.default_rng(3)
    fixed, moving, weight = make(rng, 4, *shape), make(rng, 4, *shape), make(rng, 1, *shape).abs()
    vectors = make(rng, len(shape), *shape) * 3 + 0.3

    def found(device):
        ours = [v.to(device) for v in (fixed, moving)]
        counted = weight.to(device) if weighted else None
        correlation = warp_and_compare(lcc(ours[0], window=3), ours[1], weight=counted)
        return [
            with_gradient(term, vectors.to(device)) for term in (ssd_term(*ours, weight=counted), correlation)
        ]

    return found


@pytest.mark.parametrize("shape", [SHAPE, (11, 14), (9, 1, 8)])
@pytest.mark.parametrize("weighted", [False, True])
def test_data_terms(shape, weighted, request):
    found = terms(shape, weighted)
    expected = found(CPU)
    launched = request.getfixturevalue("launched")
    for (value, gradient), (right, slope) in zip(found(DEVICE), expected, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, slope, rtol=0, atol=2e-5 * float(slope.abs().max()))
    assert launched == {"squared_difference", "sample", "sample_position_gradient"}


def test_folds(request):
    vectors = make(np.random.default_rng(4), 3, *SHAPE)
    expected = jacobian_determinant(vectors)
    launched = request.getfixturevalue("launched")
    torch.testing.assert_close(jacobian_determinant(vectors.to(DEVICE)).cpu(), expected, atol=1e-5, rtol=1e-5)
    assert launched == {"determinant"}
    jacobian_determinant(vectors.to(DEVICE).requires_grad_()).sum().backward()  # by torch, with gradients


def test_adam(request):
    rng = np.random.default_rng(5)
    fixed, moving, start = make(rng, 4, *SHAPE), make(rng, 4, *SHAPE), make(rng, 3, *SHAPE)

    def found(device):
        return refine_adam(
            SmoothedDense(start.to(device), width=3, repeats=2),
            ssd_term(fixed.to(device), moving.to(device)),
            regularity_weight=2.0, spacing_mm=SPACING, iterations=10, learning_rate=0.2,
        )  # fmt: skip

    expected, trace = found(CPU)
    launched = request.getfixturevalue("launched")
    vectors, again = found(DEVICE)
    torch.testing.assert_close(vectors.cpu(), expected, atol=1e-3, rtol=0)
    np.testing.assert_allclose(again.losses, trace.losses, rtol=1e-4)
    assert launched == {"squared_difference", "diffusion", "adam"}
    assert torch.equal(found(DEVICE)[0], vectors)


def test_no_blocks_of_channels_are_needed(launched):
    lattice = Lattice((192, 160, 192), (1, 1, 1), (2.0, 2.0, 2.0))
    assert room.find_room("ssd", 36, 24, lattice, torch.device("cuda:0"), 8 << 30).channels_at_a_time == 24


def test_a_registration(request):
    shape, shift = (20, 18, 22), (3, -5, 7)
    images = shifted_pair(shape, shift, np.random.default_rng(5))
    grid = Grid(shape, np.diag([*SPACING, 1.0]))
    pair = ImagePair(*(Scan(500 * (image - image.min()), grid, modality="MR") for image in images))
    config = light_config()
    config = config.model_copy(
        update={"adam": tuple(stage.model_copy(update={"iterations": 5}) for stage in config.adam)}
    )
    expected = register(pair, config, device=CPU).displacement
    launched = request.getfixturevalue("launched")
    found = register(pair, config, device=DEVICE).displacement
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert {"squared_difference", "diffusion", "adam", "determinant", "sample"} <= launched
