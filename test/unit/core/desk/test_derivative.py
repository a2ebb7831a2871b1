"""Jacobian determinants and strains mean the same on every grid."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from exchange_fields import GRIDS, rigid, wavy, wavy_transform

from dinoreg.desk.exchange.derivative import derivatives, figures
from dinoreg.desk.exchange.lattice import field_transform
from dinoreg.desk.exchange.parts import affine_transform, joined
from dinoreg.desk.images import itk_frame
from dinoreg.space.jacobian import jacobian_determinant
from regtask.physical import lps_to_voxels

STRETCH = np.array([[1.2, 0.1, 0.0], [-0.05, 0.9, 0.2], [0.0, 0.15, 1.1]])


def stretched():
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = STRETCH, (3, -5, 7)
    return affine_transform(matrix)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_matrix_is_found_again(grid):
    found = derivatives(stretched(), grid, strain=True, principal=True)
    np.testing.assert_allclose(found.determinant, np.linalg.det(STRETCH), rtol=1e-4)
    green = 0.5 * (STRETCH.T @ STRETCH - np.eye(3))
    expected = green[(0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)]
    np.testing.assert_allclose(found.strain, np.broadcast_to(expected, (*grid.shape, 6)), atol=1e-4)
    principal = np.linalg.eigvalsh(green)[::-1]
    np.testing.assert_allclose(found.principal, np.broadcast_to(principal, (*grid.shape, 3)), atol=1e-4)


def test_a_turn_strains_nothing():
    both = joined([rigid(), stretched(), rigid((50, 3, -8))])
    found = derivatives(both, GRIDS["oblique"], principal=True)
    alone = derivatives(stretched(), GRIDS["oblique"], principal=True)
    np.testing.assert_allclose(found.principal, alone.principal, atol=1e-4)
    rigid_only = derivatives(rigid(), GRIDS["flipped"], strain=True)
    np.testing.assert_allclose(rigid_only.strain, 0, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_the_determinant_is_that_of_the_same_field_in_voxels(grid):
    """The other code that the product has for it, which knows no millimetres."""
    voxels = lps_to_voxels(wavy(grid), grid, grid)
    other = jacobian_determinant(torch.from_numpy(np.moveaxis(voxels, -1, 0).copy())).numpy()
    np.testing.assert_allclose(derivatives(wavy_transform(grid), grid).determinant, other, atol=1e-5)


def test_the_determinant_is_that_of_itk():
    """On axes along LPS, flipped ones of ours: its filter leaves the direction out."""
    grid = GRIDS["anisotropic"]
    transform = wavy_transform(grid, amplitude_mm=6)
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, *itk_frame(grid))
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field)).transpose(2, 1, 0)
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(derivatives(transform, grid).determinant[inner], theirs[inner], atol=1e-5)
    assert np.ptp(theirs[inner]) > 0.05


def test_slabs_change_nothing(monkeypatch):
    whole = derivatives(wavy_transform(GRIDS["flipped"]), GRIDS["flipped"], strain=True)
    monkeypatch.setattr("dinoreg.desk.exchange.derivative._SLAB_VOXELS", 500)
    parts = derivatives(wavy_transform(GRIDS["flipped"]), GRIDS["flipped"], strain=True)
    np.testing.assert_array_equal(parts.determinant, whole.determinant)
    np.testing.assert_array_equal(parts.strain, whole.strain)


def test_folds_are_counted():
    grid = GRIDS["plain"]
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[8:12, 9, 7, 0] = (6, 2, -2, -6)
    determinant = derivatives(field_transform(vectors, grid), grid).determinant
    said = figures(determinant)
    assert said["folded_percent"] == pytest.approx(100 * np.mean(determinant <= 0), abs=1e-4)
    assert said["folded_percent"] > 0
    assert said["least"] < 0


def test_a_single_slice_counts_as_undeformed_across():
    flat = type(GRIDS["oblique"])((18, 20, 1), GRIDS["oblique"].affine)
    assert np.isfinite(derivatives(wavy_transform(flat), flat).determinant).all()
