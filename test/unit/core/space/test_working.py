import itertools

import nibabel as nib
import numpy as np
import pytest
import torch

from dinoreg.space.orientation import from_ras, to_ras
from dinoreg.space.working import working_grid

SHAPE, SPACING = (20, 31, 13), (1.1, 0.8, 4.0)
SHIFT_MM = (3.0, -5.0, 7.0)
ORIENTATIONS = ["".join(axes) for axes in itertools.permutations("RAS")] + ["LPS", "PIR", "SLA", "ILP"]


def _along_ras(shape, spacing, orientation):
    """Millimetres along R, A, S of every voxel of an array, from its first outer border, by nibabel."""
    codes = nib.orientations.axcodes2ornt(orientation)
    index = np.indices(shape).astype(float)
    places = np.empty((3, *shape))
    for axis, (output, flip) in enumerate(codes):
        along = (index[axis] + 0.5) * spacing[axis]
        places[int(output)] = along if flip > 0 else shape[axis] * spacing[axis] - along
    return places


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turning_to_ras_and_back_is_the_identity(orientation, rng):
    volume = torch.from_numpy(rng.standard_normal((2, *SHAPE)))
    assert torch.equal(from_ras(to_ras(volume, orientation), orientation), volume)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_ramp_keeps_its_millimetres(orientation):
    grid = working_grid(SHAPE, SPACING, orientation, max_voxels=10**6)
    here = grid.resample(torch.from_numpy(_along_ras(SHAPE, SPACING, orientation)).float())
    assert tuple(here.shape[1:]) == grid.shape
    assert len(set(grid.spacing_mm)) == 1
    expected = _along_ras(grid.shape, grid.spacing_mm, "RAS")
    inner = (slice(None), *(slice(3, -4),) * 3)  # linear interpolation holds the border's value outside
    np.testing.assert_allclose(here[inner].numpy(), expected[inner], atol=2e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_displacement_comes_back_in_voxels_of_the_image(orientation):
    grid = working_grid(SHAPE, SPACING, orientation, max_voxels=10**6)
    shift = torch.tensor(SHIFT_MM) / torch.tensor(grid.spacing_mm)
    back = grid.displacement_to_image(shift.view(3, 1, 1, 1).expand(3, *grid.shape).contiguous())
    assert tuple(back.shape[1:]) == SHAPE
    # What moving by these voxels means in millimetres along R, A, S.
    codes = nib.orientations.axcodes2ornt(orientation)
    moved = np.empty(3)
    for axis, (output, flip) in enumerate(codes):
        moved[int(output)] = float(back[axis, 4, 5, 6]) * SPACING[axis] * flip
    np.testing.assert_allclose(moved, SHIFT_MM, atol=1e-4)


def test_a_linear_displacement_is_read_where_it_lies():
    grid = working_grid(SHAPE, SPACING, "LPS", max_voxels=10**6)
    places = torch.from_numpy(_along_ras(grid.shape, grid.spacing_mm, "RAS")).float()
    field = 0.1 * places / torch.tensor(grid.spacing_mm).view(3, 1, 1, 1)
    back = grid.displacement_to_image(field).numpy()
    expected = -0.1 * _along_ras(SHAPE, SPACING, "LPS")
    expected[2] *= -1
    spacing = np.reshape(SPACING, (3, 1, 1, 1))
    inner = (slice(None), slice(2, -2), slice(3, -3), slice(1, -1))
    np.testing.assert_allclose((back * spacing)[inner], expected[inner], atol=2e-3)


def test_nearly_cubic_voxels_and_planes_stay():
    assert working_grid((30, 40, 50), (1.0, 1.1, 1.2), "RAS", max_voxels=10**6).is_image
    assert working_grid((30, 40, 1), (1.0, 3.0, 9.0), "LPS", max_voxels=10**6).is_image
    turned = working_grid((30, 40, 50), (1.0, 1.1, 1.2), "SAR", max_voxels=10**6)
    assert not turned.is_image
    assert turned.shape == (50, 40, 30)


def test_a_large_image_gets_larger_voxels():
    grid = working_grid((512, 512, 120), (0.8, 0.8, 2.5), "RAS", max_voxels=7_000_000)
    assert 6_000_000 < np.prod(grid.shape) < 7_500_000
    extent = np.array(grid.shape) * grid.spacing_mm
    assert np.all(extent >= np.array((409.6, 409.6, 300.0)) - 1e-2)


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "SLA", "RAS"])
def test_a_displacement_of_the_image_leads_to_the_same_places_on_the_grid(orientation, rng):
    """Against positions mapped by the matrix between both grids."""
    grid = working_grid(SHAPE, SPACING, orientation, max_voxels=10**6)
    to_here = grid.from_image()
    slope = 0.05 * rng.standard_normal((3, 3))
    index = np.indices(SHAPE).reshape(3, -1)
    vectors = slope @ index + np.array(SHIFT_MM)[:, None]
    stored = torch.from_numpy(vectors.reshape(3, *SHAPE)).float()
    here = grid.displacement_from_image(stored)
    assert tuple(here.shape) == (3, *grid.shape)
    shares = np.array([[0.3, 0.4, 0.5], [0.6, 0.7, 0.35], [0.4, 0.65, 0.7]])  # away from the border
    inside = (shares * grid.shape).astype(int)
    at = np.linalg.solve(to_here, np.c_[inside, np.ones(len(inside))].T)[:3]
    expected = (to_here[:3, :3] @ (slope @ at + np.array(SHIFT_MM)[:, None])).T
    np.testing.assert_allclose(here[:, *inside.T].T.numpy(), expected, atol=2e-3)
