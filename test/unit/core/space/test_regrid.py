"""Reading an image on another grid, compared with SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from itk_images import as_itk

from dinoreg.space.regrid import regrid, working_grid
from regtask import Grid

OUTSIDE = -7.0


def oblique(shape, spacing, origin, angle):
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Grid(shape, affine)


FIXED = oblique((18, 20, 22), (1.5, -2.0, 2.5), (-10, 40, -20), 0.3)
MOVING = oblique((30, 25, 28), (-1.2, 1.6, 2.2), (25, 5, -25), -0.2)


@pytest.mark.parametrize(("order", "filter_"), [(1, sitk.sitkLinear), (0, sitk.sitkNearestNeighbor)])
def test_agrees_with_simpleitk(order, filter_):
    image = np.random.default_rng(0).normal(size=MOVING.shape).astype(np.float32)
    ours = regrid(image, MOVING, FIXED, order=order, outside=OUTSIDE)
    theirs = sitk.Resample(
        as_itk(image, MOVING), as_itk(np.zeros(FIXED.shape), FIXED), sitk.Transform(), filter_, OUTSIDE
    )
    theirs = np.moveaxis(sitk.GetArrayFromImage(theirs), (2, 1, 0), (0, 1, 2))
    # At the very border the two differ by definition: ITK keeps the edge's value for half a voxel.
    at = MOVING.ras_to_index(FIXED.index_to_ras(np.indices(FIXED.shape).reshape(3, -1).T))
    inside = ((at > 0) & (at < np.array(MOVING.shape) - 1)).all(axis=1).reshape(FIXED.shape)
    assert 0.3 < inside.mean() < 1
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-4)
    beyond = ((at < -1) | (at > np.array(MOVING.shape))).any(axis=1).reshape(FIXED.shape)
    assert (ours[beyond] == OUTSIDE).all()


def test_same_grid_gives_the_same_array():
    image = np.random.default_rng(0).normal(size=FIXED.shape).astype(np.float32)
    assert regrid(image, FIXED, Grid(FIXED.shape, FIXED.affine), order=1, outside=0.0) is image


def test_overlapping_images_are_read_where_they_are():
    assert working_grid(FIXED, MOVING) is FIXED


def test_a_small_image_inside_a_large_one_is_read_where_it_is():
    small = FIXED.cropped((1, 1, 1), (4, 4, 4))
    assert working_grid(FIXED, small) is FIXED
    assert working_grid(small, FIXED) is small


def test_distant_images_are_brought_centre_on_centre():
    affine = MOVING.affine.copy()
    affine[:3, 3] += (1000, -300, 500)
    far = Grid(MOVING.shape, affine)
    grid = working_grid(FIXED, far)
    np.testing.assert_array_equal(grid.affine[:3, :3], FIXED.affine[:3, :3])
    centres = [g.index_to_ras([(np.array(g.shape) - 1) / 2])[0] for g in (grid, far)]
    np.testing.assert_allclose(*centres, atol=1e-9)
