"""Against a formula written out in numpy, and against Pillow, which torch's anti-aliasing follows."""

import numpy as np
import pytest
import torch
from dinov2_reference import GRID, stretch_position
from PIL import Image

from dinoreg.encoders.vit.position_embedding import interpolate_position

SHAPES = [(3, 5), (5, 3), (37, 36), (60, 41), (16, 16), (1, 50), (74, 30)]


@pytest.fixture
def table(rng):
    return torch.from_numpy(rng.standard_normal((1, 1 + GRID**2, 3)).astype(np.float32))


def pillow(table, shape):
    """(1, 1 + rows * columns, channels) by Pillow's bicubic filter."""
    planes = table[0, 1:].reshape(GRID, GRID, -1).numpy()
    resized = [
        np.asarray(Image.fromarray(planes[..., c]).resize(shape[::-1], Image.Resampling.BICUBIC))
        for c in range(planes.shape[-1])
    ]
    return np.concatenate([table[0, :1].numpy(), np.stack(resized, -1).reshape(-1, planes.shape[-1])])[None]


@pytest.mark.parametrize("shape", SHAPES)
def test_without_registers(table, shape):
    found = interpolate_position(table, shape, registers=False)
    np.testing.assert_allclose(found, stretch_position(table.numpy(), shape), atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_with_registers(table, shape):
    found = interpolate_position(table, shape, registers=True)
    np.testing.assert_allclose(found, pillow(table, shape), atol=1e-4)


@pytest.mark.parametrize("registers", [False, True])
def test_trained_grid_is_left_alone(table, registers):
    assert interpolate_position(table, (GRID, GRID), registers=registers) is table


def test_same_number_of_patches_in_another_shape_is_interpolated(table):
    assert not torch.equal(interpolate_position(table, (1, GRID**2), registers=False), table)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("registers", [False, True])
def test_half_precision_is_rounded_once(table, dtype, registers):
    table = table.to(dtype)
    found = interpolate_position(table, (20, 31), registers=registers)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found, interpolate_position(table.float(), (20, 31), registers=registers).to(dtype), atol=0, rtol=0
    )


@pytest.mark.parametrize("registers", [False, True])
def test_every_size_keeps_its_number_of_patches(table, registers):
    for n in range(1, 150):
        assert interpolate_position(table, (n, 2), registers=registers).shape[1] == 1 + 2 * n
