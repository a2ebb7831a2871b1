import numpy as np
import pytest
import SimpleITK as sitk
import torch

from dinoreg.optimise.bspline import (
    BSpline,
    basis_matrix,
    choose_mesh,
    mesh_of,
    refine_control,
    zero_control,
)
from dinoreg.space.coords import identity_positions
from dinoreg.space.lattice import Lattice

CASES = {
    "3d": ((11, 14, 9), (4, 5, 3), (0.8, 1.5, 2.5)),
    "2d": ((21, 16), (6, 3), (1.3, 0.7)),
    "one span": ((7, 9), (1, 1), (1.0, 2.0)),
}


def _lattice(shape, spacing=None, stride=None):
    rank = len(shape)
    stride = stride or (1,) * rank
    spacing = spacing or (1.0,) * rank
    return Lattice(tuple(shape), stride, tuple(k * s for k, s in zip(stride, spacing, strict=True)))


def _control(rng, mesh, amplitude=3.0):
    return torch.from_numpy(rng.normal(scale=amplitude, size=zero_control(mesh).shape)).float()


def _itk_displacement(control, shape, spacing, mesh, direction):
    """SimpleITK's displacement at the voxel centres of an image, in voxels, (rank, *shape)."""
    rank = len(shape)
    image = sitk.Image([int(n) for n in shape], sitk.sitkFloat32)
    image.SetOrigin([10.0, -20.0, 30.0][:rank])
    image.SetSpacing(spacing)
    image.SetDirection(direction.flatten().tolist())
    transform = sitk.BSplineTransform(rank, 3)
    transform.SetTransformDomainOrigin(image.TransformContinuousIndexToPhysicalPoint([-0.5] * rank))
    transform.SetTransformDomainDirection(direction.flatten().tolist())
    transform.SetTransformDomainPhysicalDimensions([n * s for n, s in zip(shape, spacing, strict=True)])
    transform.SetTransformDomainMeshSize([int(m) for m in mesh])
    # Voxels along the image's axes -> physical vectors; ITK's first index runs fastest.
    vectors = np.einsum("ab,b...->a...", direction * np.array(spacing), control.double().numpy())
    transform.SetParameters(np.concatenate([v.ravel(order="F") for v in vectors]).tolist())
    positions = identity_positions(shape).reshape(rank, -1).T.double().numpy()
    found = []
    for position in positions:
        point = image.TransformContinuousIndexToPhysicalPoint(position.tolist())
        moved = image.TransformPhysicalPointToContinuousIndex(transform.TransformPoint(point))
        found.append(np.array(moved) - position)
    return np.array(found).T.reshape(rank, *shape)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("oblique", [False, True])
def test_equals_itk(case, oblique, rng):
    shape, mesh, spacing = CASES[case]
    rank = len(shape)
    direction = np.linalg.qr(rng.standard_normal((rank, rank)))[0] if oblique else np.eye(rank)
    control = _control(rng, mesh)
    found = BSpline(control, _lattice(shape, spacing)).displacement().detach()
    expected = _itk_displacement(control, shape, spacing, mesh, direction)
    assert np.abs(expected).max() > 2
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_asymmetric_shift_and_linear_fields_are_reproduced():
    """Cubic B-splines sum to 1 and reproduce linear functions, control points at span borders."""
    shape, mesh = (12, 10, 15), (4, 2, 5)
    control = zero_control(mesh)
    control += torch.tensor([3.0, -5.0, 7.0]).view(3, 1, 1, 1)
    found = BSpline(control, _lattice(shape)).displacement()
    for component, value in zip(found, (3.0, -5.0, 7.0), strict=True):
        torch.testing.assert_close(component, torch.full(shape, value))
    knots = (torch.arange(7.0) - 1) * 12 / 4 - 0.5  # in voxels, along the first axis
    control = zero_control(mesh)
    control[1] = 0.1 * knots.view(-1, 1, 1)
    expected = 0.1 * torch.arange(12.0).view(-1, 1, 1).expand(shape)
    torch.testing.assert_close(BSpline(control, _lattice(shape)).displacement()[1], expected)


@pytest.mark.parametrize("size", [1, 12, 13])
def test_a_coarser_lattice_reads_the_same_function(size, rng):
    """Cell 1 of stride 3 has its centre on voxel 4; the last cell of 13 reaches over the edge."""
    control = _control(rng, (0,) if size == 1 else (4,))
    stride = 1 if size == 1 else 3
    fine = BSpline(control, _lattice((size,))).displacement()
    coarse = BSpline(control, _lattice((size,), stride=(stride,))).displacement()
    expected = fine[:, 1::3] if size > 1 else fine
    torch.testing.assert_close(coarse[:, : expected.shape[1]], expected)
    if size == 13:
        assert coarse.shape == (1, 5)
        edge = (control[0, -3] + 4 * control[0, -2] + control[0, -1]) / 6
        torch.testing.assert_close(coarse[0, 4].detach(), edge)


@pytest.mark.parametrize("mesh", [(4, 5, 3), (6, 0, 3), (1, 1, 1)])
@pytest.mark.parametrize("factor", [2, 3])
def test_refinement_by_a_whole_factor_keeps_the_function(mesh, factor, rng):
    shape = tuple(1 if m == 0 else 4 * m + 3 for m in mesh)
    control = _control(rng, mesh)
    refined = refine_control(control, tuple(factor * m for m in mesh))
    assert mesh_of(refined) == tuple(factor * m for m in mesh)
    before, after = (BSpline(c, _lattice(shape)).displacement() for c in (control, refined))
    torch.testing.assert_close(after, before, atol=2e-5, rtol=0)


def test_halved_spans_have_the_weights_of_knot_insertion(rng):
    """Subdivision of cubic B-splines: old points become (1, 6, 1) / 8, midpoints (1, 1) / 2."""
    control = torch.from_numpy(rng.standard_normal((1, 8)))
    refined = refine_control(control, (10,))[0]
    c = control[0]
    torch.testing.assert_close(refined[1::2], (c[:-2] + 6 * c[1:-1] + c[2:])[: len(refined[1::2])] / 8)
    torch.testing.assert_close(refined[0::2], (c[:-1] + c[1:]) / 2)


def test_refinement_by_no_whole_factor_is_a_close_fit(rng):
    control = torch.cumsum(torch.from_numpy(rng.standard_normal((1, 8))), dim=1)
    shape = (40,)
    before = BSpline(control, _lattice(shape)).displacement().detach()
    after = BSpline(refine_control(control, (9,)), _lattice(shape)).displacement().detach()
    assert float((after - before).abs().max()) < 0.1 * float(before.std())


def test_mesh_follows_millimetres():
    lattice = Lattice((128, 100, 1), (2, 1, 1), (2.0, 3.0, 5.0))
    assert choose_mesh(lattice, 128 / 21) == (21, 49, 0)  # 24 control points over 128 mm, as Koegl et al.
    assert zero_control((21, 49, 0)).shape == (3, 24, 52, 1)
    assert choose_mesh(lattice, 1000.0) == (1, 1, 0)


def test_base_is_added_and_gradients_are_right(rng):
    base = torch.from_numpy(rng.standard_normal((2, 8, 6))).float()
    model = BSpline(zero_control((2, 3)), _lattice((8, 6)), base=base)
    torch.testing.assert_close(model.displacement(), base)
    weight = torch.from_numpy(rng.standard_normal((2, 8, 6))).float()
    (gradient,) = torch.autograd.grad((model.displacement() * weight).sum(), [model.control])
    expected = torch.einsum("axy,xi,yj->aij", weight, *(basis_matrix(*s).float() for s in ((8, 2), (6, 3))))
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("size", [2, 3])
def test_too_few_control_points(size):
    with pytest.raises(ValueError, match="at least 4"):
        BSpline(torch.zeros(2, 5, size), _lattice((8, 6)))
    with pytest.raises(ValueError, match="mesh"):
        refine_control(zero_control((4, 0)), (4, 2))
