"""Triton's kernels against torch in float64: interpreted or, where there is one, on a GPU."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from triton_device import DEVICE, GPU, needs_triton

from dinoreg.optimise.adam import AdamStep
from dinoreg.optimise.regularise import diffusion
from dinoreg.space.coords import identity_positions, to_sampling_grid
from dinoreg.space.jacobian import jacobian_determinant
from dinoreg.space.kernels.gpu import differentiable, launch
from dinoreg.space.sampling import channels_last

pytestmark = [needs_triton, *([pytest.mark.gpu] if GPU else [])]

SHAPE, SHIFT = (7, 12, 9), (3.0, -5.0, 7.0)
SHAPES = [SHAPE, (5, 1, 33), (1, 1, 6), (4, 3, 2)]


def make(rng, *shape):
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(DEVICE)


def displacement(shape, rng, reach=2):
    """Whole numbers about the shift and .1 to .9: never on a plane of the lattice, where gradients jump."""
    whole = rng.integers(-reach, reach + 1, (3, *shape)) + np.array(SHIFT).reshape(3, 1, 1, 1)
    return torch.from_numpy((whole + rng.uniform(0.1, 0.9, whole.shape)).astype(np.float32)).to(DEVICE)


def warped(volume, vectors):
    """Read at x + u(x) by torch, float64."""
    positions = identity_positions(volume.shape[1:]).to(DEVICE).double() + vectors
    grid = to_sampling_grid(positions, volume.shape[1:])
    return F.grid_sample(volume.double()[None], grid, padding_mode="border", align_corners=False)[0]


def close(found, expected, tolerance=1e-5):
    expected = expected.detach().cpu()
    scale = float(expected.abs().max()) or 1.0
    np.testing.assert_allclose(found.detach().cpu() / scale, expected / scale, atol=tolerance, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.float32), (5, torch.float32), (3, torch.float16)])
@pytest.mark.parametrize("weighted", [False, True])
def test_squared_difference_and_its_gradient(shape, channels, dtype, weighted, rng):
    fixed, moving = (make(rng, channels, *shape).to(dtype) for _ in range(2))
    weight = make(rng, 1, *shape).clamp(min=0) if weighted else None
    vectors = displacement(shape, rng)
    total, gradient = launch.squared_difference(fixed, moving, vectors, weight)
    theirs = vectors.double().requires_grad_()
    squared = (warped(moving, theirs) - fixed.double()).square()
    expected = (squared if weight is None else squared * weight).sum()
    close(total, expected)
    close(gradient, torch.autograd.grad(expected, theirs)[0])


@pytest.mark.parametrize("last", [(False, False), (True, True), (False, True)])
def test_memory_order_and_block_move_no_bit_of_the_gradient(last, rng):
    fixed, moving = make(rng, 4, *SHAPE), make(rng, 4, *SHAPE)
    vectors, weight = displacement(SHAPE, rng), make(rng, 1, *SHAPE).abs()
    expected = launch.squared_difference(fixed, moving, vectors, weight)
    ordered = [channels_last(v) if turn else v for v, turn in zip((fixed, moving), last, strict=True)]
    found = launch.squared_difference(*ordered, vectors, weight)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert torch.equal(launch.squared_difference(*ordered, vectors, weight, block=64)[1], expected[1])


def test_channels_of_a_block_are_read_in_place(rng):
    both = make(rng, 6, *SHAPE), make(rng, 6, *SHAPE)
    vectors = displacement(SHAPE, rng)
    part = launch.squared_difference(*(v[2:5] for v in both), vectors, None)
    whole = launch.squared_difference(*(v[2:5].clone() for v in both), vectors, None)
    assert torch.equal(part[1], whole[1])
    assert torch.equal(
        launch.squared_difference(*(channels_last(v)[2:5] for v in both), vectors, None)[1], whole[1]
    )


def test_far_out_of_the_image_the_border_counts_and_has_no_slope(rng):
    fixed, moving = make(rng, 3, *SHAPE), make(rng, 3, *SHAPE)
    for sign, corner in ((-1, 0), (1, -1)):
        far = torch.full((3, *SHAPE), sign * 1e6, device=DEVICE)
        total, gradient = launch.squared_difference(fixed, moving, far, None)
        close(total, (moving[:, corner, corner, corner].view(3, 1, 1, 1) - fixed).double().square().sum())
        assert not gradient.any()
    along = torch.zeros(3, *SHAPE, device=DEVICE)
    along[1] = 40.3
    _, gradient = launch.squared_difference(fixed, moving, along + 0.2, None)
    assert not gradient[1].any()
    assert gradient[0, :-1].all()
    assert gradient[2, ..., :-1].all()


def test_where_the_weight_is_zero_nothing_is_read(rng):
    fixed, moving = make(rng, 2, *SHAPE), make(rng, 2, *SHAPE)
    weight = torch.ones(1, *SHAPE, device=DEVICE)
    weight[:, 2] = 0
    expected = launch.squared_difference(fixed, moving, displacement(SHAPE, rng) * 0, weight)
    fixed[:, 2] = float("nan")
    found = launch.squared_difference(fixed, moving, displacement(SHAPE, rng) * 0, weight)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert not found[1][:, 2].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("last", [False, True])
def test_sampling_and_its_gradient(shape, dtype, last, rng):
    volume = make(rng, 3, *shape).to(dtype)
    volume = channels_last(volume) if last else volume
    vectors, incoming = displacement(shape, rng), make(rng, 3, *shape)
    theirs = vectors.double().requires_grad_()
    expected = warped(volume, theirs)
    slope = torch.autograd.grad((expected * incoming).sum(), theirs)[0]
    positions = identity_positions(shape).to(DEVICE) + vectors
    for at, relative in ((vectors, True), (positions, False)):
        own = at.flatten(1).clone().requires_grad_()
        found = differentiable.sample(volume, own, relative=relative)
        assert found.dtype == torch.float32
        close(found.detach(), expected.flatten(1))
        # Positions are rounded to float32 where they are sums, so that they move by 1e-6.
        close(torch.autograd.grad((found * incoming.flatten(1)).sum(), own)[0], slope.flatten(1), 2e-5)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_positions(count, rng):
    volume = make(rng, 2, *SHAPE)
    at = torch.from_numpy(rng.uniform(-3, 14, (3, count)).astype(np.float32)).to(DEVICE)
    grid = to_sampling_grid(at.double(), SHAPE).view(1, count, 1, 1, 3)
    found = launch.sample(volume, at, relative=False)
    assert found.shape == (2, count)
    if count:
        expected = F.grid_sample(volume.double()[None], grid, padding_mode="border", align_corners=False)
        close(found, expected.view(2, count))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_positions_that_are_no_numbers_read_within_the_volume(value, rng):
    volume = make(rng, 2, *SHAPE)
    end = -1 if value > 0 else 0
    at = torch.full((3, 4), value, device=DEVICE)
    found = launch.sample(volume, at, relative=False)
    assert torch.equal(found, volume[:, end, end, end, None].expand(2, 4))
    gradient = launch.sample_position_gradient(volume, at, torch.ones_like(found), relative=False)
    assert not gradient.any()


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_voxels_about_the_last_one_are_read_exactly(beyond, rng):
    volume = make(rng, 2, *SHAPE)
    at = torch.tensor(SHAPE, device=DEVICE).float().view(3, 1) - 1 + beyond
    corner = [n - 1 + min(beyond, 0) for n in SHAPE]
    assert torch.equal(launch.sample(volume, at, relative=False)[:, 0], volume[:, *corner])


@pytest.mark.parametrize("shape", [*SHAPES, (2, 2, 2)])
def test_diffusion_and_its_gradient(shape, rng):
    vectors, spacing = make(rng, 3, *shape), (2.0, 1.5, 3.0)
    found, gradient = launch.diffusion(vectors, spacing)
    theirs = vectors.double().cpu().requires_grad_()
    expected = diffusion(theirs, spacing)
    close(found, expected)
    close(gradient, torch.autograd.grad(expected, theirs)[0])


@pytest.mark.parametrize("shape", [*SHAPES, (2, 2, 2)])
def test_determinant_and_the_count_of_folds(shape, rng):
    vectors = make(rng, 3, *shape)
    expected = jacobian_determinant(vectors.double().cpu())
    found = launch.determinant(vectors)
    close(found, expected)
    assert int((found <= 0).sum()) == int((expected <= 0).sum())


def test_a_step_of_adam(rng):
    start, slopes = make(rng, 3, *SHAPE), [make(rng, 3, *SHAPE) for _ in range(3)]
    theirs = torch.nn.Parameter(start.double().cpu())
    step = AdamStep([theirs], 0.3)
    own, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for number, slope in enumerate(slopes, start=1):
        step([slope.double().cpu()], pace=0.5)
        launch.adam(
            own, slope, mean, square, step_size=0.5 * 0.3 / (1 - 0.9**number),
            root_scale=(1 - 0.999**number) ** -0.5, betas=(0.9, 0.999), epsilon=1e-8,
        )  # fmt: skip
        close(own, theirs)


def test_too_many_cells_and_other_types_are_not_taken():
    assert launch.fits(torch.empty(2, 900, 900, 800, dtype=torch.float16, device="meta"))
    assert not launch.fits(torch.empty(2, 900, 900, 900, dtype=torch.float16, device="meta"))
    assert not launch.fits(torch.empty(2, 4, 4, 4, dtype=torch.float64, device="meta"))
