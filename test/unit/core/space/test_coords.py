import numpy as np
import pytest
import torch
from core_reference import SHAPE

from dinoreg.space.coords import identity_positions, to_sampling_grid


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (1, 26, 1)])
def test_identity_positions(shape):
    found = identity_positions(shape)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, np.indices(shape))


def test_sampling_grid_is_reversed_and_its_ends_are_half_a_voxel_outside():
    # Three points of a 20 x 26 x 34 lattice: the lower edge, the upper edge, and voxel (0, 6, 33).
    points = torch.tensor([[-0.5, 19.5, 0.0], [-0.5, 25.5, 6.0], [-0.5, 33.5, 33.0]])
    grid = to_sampling_grid(points, SHAPE)
    # (2 v + 1) / n - 1: 1/20 - 1 = -0.95, 13/26 - 1 = -0.5, 67/34 - 1 = 0.970588
    expected = [[[-1, -1, -1], [1, 1, 1], [67 / 34 - 1, -0.5, -0.95]]]
    np.testing.assert_allclose(grid, expected, atol=1e-6)


def test_sampling_grid_keeps_the_axes_of_the_targets():
    assert to_sampling_grid(torch.zeros(3, 4, 5, 6), SHAPE).shape == (1, 4, 5, 6, 3)
    assert to_sampling_grid(torch.zeros(2, 4, 5), (20, 26)).shape == (1, 4, 5, 2)
