"""Conversion of displacements, compared with SimpleITK on oblique anisotropic grids."""

import numpy as np
import pytest
import SimpleITK as sitk
from itk_images import as_itk

from regtask import Grid, SpaceError
from regtask.physical import lps_to_voxels, voxels_to_lps

SHIFT = np.array((3.0, -5.0, 7.0))


@pytest.fixture(scope="module")
def fixed():
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ tilt @ np.diag([-1.5, 2.25, 3.0])
    affine[:3, 3] = (-31.0, 12.5, 104.0)
    return Grid((18, 20, 22), affine)


@pytest.fixture(scope="module")
def moving():
    """Another shape, spacing, direction and origin, around the same place."""
    turn = np.array([[0.0, -1.0, 0.0], [0.96, 0.0, -0.28], [0.28, 0.0, 0.96]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.2, 2.0, 2.5])
    affine[:3, 3] = (-20.0, 3.0, 95.0)
    return Grid((30, 25, 28), affine)


def as_transform(vectors_mm, grid):
    return sitk.DisplacementFieldTransform(as_itk(vectors_mm.astype(np.float64), grid, vector=True))


def smooth(shape, seed=0):
    rng = np.random.default_rng(seed)
    coarse = sitk.GetImageFromArray(rng.normal(size=(4, 4, 4)))
    fine = sitk.Expand(coarse, [8, 8, 8], sitk.sitkLinear)
    return np.ascontiguousarray(sitk.GetArrayFromImage(fine)[: shape[0], : shape[1], : shape[2]])


def test_shift_warps_in_simpleitk(fixed):
    """The content of fixed voxel x lies at x + (3, -5, 7) in a moving image of the same grid."""
    image = smooth(fixed.shape)
    moved = np.zeros_like(image)
    moved[3:, :-5, 7:] = image[:-3, 5:, :-7]
    vectors = np.broadcast_to(SHIFT, (*fixed.shape, 3)).astype(np.float32)
    transform = as_transform(voxels_to_lps(vectors, fixed, fixed), fixed)
    warped = sitk.GetArrayFromImage(sitk.Resample(as_itk(moved, fixed), as_itk(image, fixed), transform))
    warped = np.moveaxis(warped, (2, 1, 0), (0, 1, 2))
    np.testing.assert_allclose(warped[:-4, 6:, :-8], image[:-4, 6:, :-8], atol=1e-5)


def test_displaced_points_are_those_of_simpleitk_between_two_grids(fixed, moving):
    vectors = np.random.default_rng(1).uniform(-4, 4, (*fixed.shape, 3)).astype(np.float32)
    transform = as_transform(voxels_to_lps(vectors, fixed, moving), fixed)
    fixed_image, moving_image = (as_itk(np.zeros(grid.shape), grid) for grid in (fixed, moving))
    for index in [(0, 0, 0), (3, 5, 7), (17, 0, 21), (9, 19, 2)]:
        point = transform.TransformPoint(fixed_image.TransformIndexToPhysicalPoint(index))
        found = moving_image.TransformPhysicalPointToContinuousIndex(point)
        np.testing.assert_allclose(found, index + vectors[index], atol=1e-4)


def test_there_and_back(fixed, moving):
    vectors = np.random.default_rng(2).uniform(-4, 4, (*fixed.shape, 3)).astype(np.float32)
    back = lps_to_voxels(voxels_to_lps(vectors, fixed, moving), fixed, moving)
    np.testing.assert_allclose(back, vectors, atol=1e-4)


@pytest.mark.parametrize("convert", [voxels_to_lps, lps_to_voxels])
def test_another_shape_is_refused(fixed, moving, convert):
    with pytest.raises(SpaceError, match="field and grid differ"):
        convert(np.zeros((*moving.shape, 3), np.float32), fixed, moving)
