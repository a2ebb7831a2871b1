import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from core_checks import check_kernel_gradient, check_sampling
from core_reference import SHAPE, sample

from dinoreg.space.sampling import channels_last, sample_linear


def _positions(shape, rng, count, reach=4.0):
    """Random positions inside and up to `reach` voxels outside."""
    return np.stack([rng.uniform(-reach, n - 1 + reach, count) for n in shape]).astype(np.float32)


@pytest.mark.parametrize("shape", [SHAPE, (20, 1, 34), (1, 26, 1), (20, 26), (1, 26), (20, 1)])
@pytest.mark.parametrize("channels", [1, 5])
def test_equals_scipy_inside_and_outside(shape, channels, rng):
    check_sampling(shape, channels, rng)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (7, 1, 9)])
def test_torch_path_equals_scipy(shape, rng):
    volume, at = rng.standard_normal((3, *shape)), _positions(shape, rng, 400).astype(np.float64)
    found = sample_linear(torch.from_numpy(volume), torch.from_numpy(at))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, sample(volume, at), atol=1e-12)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26)])
def test_torch_path_for_a_volume_that_requires_gradients_equals_the_kernel(shape, rng):
    volume = torch.from_numpy(rng.standard_normal((3, *shape)).astype(np.float32))
    at = torch.from_numpy(_positions(shape, rng, 300))
    np.testing.assert_allclose(
        sample_linear(volume.clone().requires_grad_(), at).detach(), sample_linear(volume, at), atol=2e-5
    )


@pytest.mark.parametrize("target", [(), (6,), (2, 3), (2, 1, 3), (2, 3, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_shape_of_the_targets(target, dtype, rng):
    volume = torch.from_numpy(rng.standard_normal((2, 5, 6, 7))).to(dtype)
    at = torch.from_numpy(rng.uniform(0, 4, (3, *target))).to(dtype)
    found = sample_linear(volume, at)
    assert found.shape == (2, *target)
    flat = sample_linear(volume, at.reshape(3, -1))
    assert torch.equal(found.reshape(2, -1), flat)


def test_threads_do_not_matter(rng):
    volume = torch.from_numpy(rng.standard_normal((4, *SHAPE)).astype(np.float32))
    at = torch.from_numpy(_positions(SHAPE, rng, 5000))
    alone = sample_linear(volume, at)
    torch.set_num_threads(2)
    assert torch.equal(sample_linear(volume, at), alone)


def test_torch_keeps_the_threads_that_it_was_given():
    """numba's threads begin with another number, which must not become that of torch."""
    code = (
        "import torch; from dinoreg.space.sampling import sample_linear;"
        "sample_linear(torch.zeros(1, 4, 4, 4), torch.zeros(3, 5)); print(torch.get_num_threads())"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    call = [sys.executable, "-c", code]
    ended = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "1"


def test_memory_order_does_not_matter(rng):
    volume = torch.from_numpy(rng.standard_normal((4, *SHAPE)).astype(np.float32))
    at = torch.from_numpy(_positions(SHAPE, rng, 200))
    expected = sample_linear(volume, at)
    assert torch.equal(sample_linear(channels_last(volume), at), expected)
    assert torch.equal(sample_linear(volume, at.T.contiguous().T), expected)
    assert torch.equal(channels_last(volume), volume)
    assert channels_last(volume).movedim(0, -1).is_contiguous()


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5), (4, 1, 6)])
def test_gradients_of_the_torch_path(shape, rng):
    volume = torch.from_numpy(rng.standard_normal((2, *shape))).requires_grad_()
    cell = np.stack([rng.integers(0, max(1, n - 1), 5) for n in shape])
    at = torch.from_numpy(cell + rng.uniform(0.1, 0.9, cell.shape))
    if 1 in shape:
        at[shape.index(1)] = 0.3  # beyond the only voxel: clamped, no gradient
    assert torch.autograd.gradcheck(sample_linear, (volume, at.requires_grad_()))


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 1, 34)])
def test_kernel_gradient_equals_torch(shape, rng):
    check_kernel_gradient(shape, rng)


def test_kernel_gradient_equals_finite_differences(rng):
    volume = rng.standard_normal((3, *SHAPE)).astype(np.float32)
    at = np.stack([rng.integers(0, n - 1, 60) + rng.uniform(0.2, 0.8, 60) for n in SHAPE]).astype(np.float32)
    incoming = rng.standard_normal((3, 60)).astype(np.float32)
    tensor = torch.from_numpy(at).requires_grad_()
    sample_linear(torch.from_numpy(volume), tensor).backward(torch.from_numpy(incoming))
    for axis in range(3):
        step = np.zeros((3, 1))
        step[axis] = 0.1  # linear between two lattice planes: any step within the cell is exact
        slope = (sample(volume, at + step) - sample(volume, at - step)) / 0.2
        np.testing.assert_allclose(tensor.grad[axis], (slope * incoming).sum(axis=0), atol=1e-4)


def test_gradient_is_zero_along_a_clamped_axis_only(rng):
    volume = torch.from_numpy(rng.standard_normal((2, *SHAPE)).astype(np.float32))
    at = torch.tensor([[-3.0, 5.3, 25.0], [4.6, 30.0, 7.7], [3.2, 6.4, -0.1]]).requires_grad_()
    sample_linear(volume, at).sum().backward()
    expected_zero = torch.tensor([[True, False, True], [False, True, False], [False, False, True]])
    assert torch.equal(at.grad == 0, expected_zero)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_that_are_no_numbers_do_not_crash(dtype, rng):
    # What an exploding optimisation asks for: a value or NaN, but never a read outside the volume.
    volume = torch.from_numpy(rng.standard_normal((2, *SHAPE))).to(dtype)
    inside, lost, far = [4.0, 5.0, 6.0], [float("nan")] * 3, [1e30, -1e30, float("inf")]
    at = torch.tensor([inside, lost, far], dtype=dtype).T.requires_grad_()
    found = sample_linear(volume, at)
    torch.testing.assert_close(found[:, 0].detach(), volume[:, 4, 5, 6])
    found[:, 0].sum().backward()
    assert torch.isfinite(at.grad[:, 0]).all()
