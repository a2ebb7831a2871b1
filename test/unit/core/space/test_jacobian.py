import numpy as np
import pytest
import SimpleITK as sitk
import torch
from core_reference import SHAPE, SPACING, affine_displacement, smooth_displacement

from dinoreg.guard.folds import repair_folds
from dinoreg.space import jacobian
from dinoreg.space.jacobian import jacobian_determinant

MATRICES = {
    "shear and scale": np.array([[0.1, 0.3, 0.0], [-0.2, 0.05, 0.1], [0.15, 0.0, -0.1]]),
    "reflected": np.array([[-2.0, 0.1, 0.0], [0.0, 0.2, 0.3], [0.1, 0.0, 0.1]]),
    "collapsed": np.diag([0.0, -1.0, 0.0]),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("rank", [2, 3])
def test_determinant_of_an_affine(name, rank):
    matrix = MATRICES[name][:rank, :rank]
    found = jacobian_determinant(torch.from_numpy(affine_displacement(matrix, [1.0] * rank, SHAPE[:rank])))
    assert found.shape == SHAPE[:rank]
    np.testing.assert_allclose(found, np.linalg.det(np.eye(rank) + matrix), atol=2e-5)


def test_a_translation_has_determinant_one():
    field = torch.tensor([3.0, -5.0, 7.0]).view(3, 1, 1, 1).expand(3, *SHAPE)
    assert torch.equal(jacobian_determinant(field), torch.ones(SHAPE))


@pytest.mark.parametrize("shape", [(20, 26, 1), (1, 26, 34), (20, 1, 34), (1, 1, 34)])
def test_an_axis_of_size_one_has_no_gradient(shape):
    matrix = MATRICES["shear and scale"].copy()
    for axis in (a for a in range(3) if shape[a] == 1):
        matrix[:, axis] = 0
    found = jacobian_determinant(torch.from_numpy(affine_displacement(matrix, [0, 0, 0], shape)))
    np.testing.assert_allclose(found, np.linalg.det(np.eye(3) + matrix), atol=2e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 19, 20])
def test_slabs_are_invisible(rows, rng, monkeypatch):
    field = torch.from_numpy(smooth_displacement(SHAPE, rng, 3.0))
    whole = jacobian_determinant(field)
    monkeypatch.setattr(jacobian, "_SLAB_VOXELS", rows * SHAPE[1] * SHAPE[2])
    assert torch.equal(jacobian_determinant(field), whole)


def test_agrees_with_simpleitk(rng):
    field = smooth_displacement(SHAPE, rng, 4.0, sigma=3.0)
    # ITK wants physical vectors on an array (k, j, i); its determinant is that in voxels, as both scale.
    image = sitk.GetImageFromArray(field.transpose(3, 2, 1, 0).astype(np.float64) * SPACING, isVector=True)
    image.SetSpacing(SPACING)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose(2, 1, 0)
    inner = (slice(1, -1),) * 3
    assert expected[inner].std() > 0.2
    np.testing.assert_allclose(
        jacobian_determinant(torch.from_numpy(field))[inner], expected[inner], atol=1e-4
    )


def test_folds_counted_by_hand():
    # u_0 = 3 on 3 x 3 voxels of plane 10: d u_0 / d i = +1.5 at plane 9 and -1.5 at plane 11, 0 at plane 10;
    # det = 1 + d u_0 / d i, so the 9 voxels of plane 11 are folded.
    field = torch.zeros(3, *SHAPE)
    field[0, 10, 5:8, 6:9] = 3
    folded = jacobian_determinant(field) <= 0
    assert folded.nonzero().tolist() == [[11, j, k] for j in (5, 6, 7) for k in (6, 7, 8)]
    assert repair_folds(field, max_fraction=1.0)[1].before == 9


def test_a_determinant_of_exactly_zero_counts_as_fold():
    field = torch.zeros(2, 20, 26)
    field[1, 4, 12] = 2  # 1 - 2 / 2 = 0 at (4, 13)
    assert repair_folds(field, max_fraction=1.0)[1].before == 1
