import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_checks import check_constant_stays
from core_reference import SHAPE, box
from scipy import ndimage

from dinoreg.space.separable import apply_along_axes, box_matrix, interpolation_matrix


@pytest.mark.parametrize("size", [1, 2, 3, 20, 34])
@pytest.mark.parametrize(("width", "repeats"), [(1, 3), (3, 0), (3, 1), (3, 4), (7, 2), (9, 1)])
def test_box_matrix_equals_scipy(size, width, repeats, rng):
    values = rng.standard_normal(size)
    expected = values
    for _ in range(repeats):
        expected = ndimage.uniform_filter1d(expected, width, mode="nearest")
    np.testing.assert_allclose(box_matrix(size, width, repeats).numpy() @ values, expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 20])
@pytest.mark.parametrize(("width", "repeats"), [(3, 1), (3, 3), (7, 2)])
def test_box_matrix_with_zeros_outside_equals_scipy(size, width, repeats, rng):
    values = rng.standard_normal(size)
    expected = values
    for _ in range(repeats):
        expected = ndimage.uniform_filter1d(expected, width, mode="constant")
    found = box_matrix(size, width, repeats, border="zero").numpy() @ values
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (1, 26, 3)])
def test_smoothing_of_a_volume_equals_scipy(shape, rng):
    volume = rng.standard_normal((3, *shape)).astype(np.float32)
    matrices = [box_matrix(n, 5, 2) for n in shape]
    found = apply_along_axes(torch.from_numpy(volume), matrices)
    np.testing.assert_allclose(found, box(volume, 5, 2), atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (1, 26, 3)])
def test_a_constant_stays_constant(shape):
    check_constant_stays(shape)


def test_an_even_width_is_refused():
    with pytest.raises(ValueError, match="odd"):
        box_matrix(20, 4, 1)


@pytest.mark.parametrize(("size_in", "stride"), [(1, 5), (2, 1), (7, 2), (13, 2), (5, 4), (4, 5)])
def test_interpolation_matrix_equals_torch(size_in, stride, rng):
    values = torch.from_numpy(rng.standard_normal((1, 1, size_in)))
    expected = F.interpolate(values, size=size_in * stride, mode="linear", align_corners=False)
    found = interpolation_matrix(size_in * stride, size_in, stride).double() @ values[0, 0]
    np.testing.assert_allclose(found, expected[0, 0], atol=1e-6)


@pytest.mark.parametrize("stride", [0.25, 0.5, 2.0, 1.5, 3.0])
def test_interpolation_matrix_at_sizes_that_do_not_divide(stride):
    # Linear values are read exactly at ((c + 0.5) / stride - 0.5), held at the border.
    size_in, size_out = 11, 19
    at = np.clip((np.arange(size_out) + 0.5) / stride - 0.5, 0, size_in - 1)
    found = interpolation_matrix(size_out, size_in, stride).double() @ torch.arange(
        size_in, dtype=torch.float64
    )
    np.testing.assert_allclose(found, at, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_apply_along_axes_equals_einsum(channels, rng):
    volume = rng.standard_normal((channels, *SHAPE)).astype(np.float32)
    a, b, c = (rng.standard_normal((m, n)).astype(np.float32) for m, n in zip((4, 30, 7), SHAPE, strict=True))
    found = apply_along_axes(torch.from_numpy(volume), [torch.from_numpy(m) for m in (a, b, c)])
    expected = np.einsum("xi,yj,zk,cijk->cxyz", a, b, c, volume.astype(np.float64), optimize=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    plane = apply_along_axes(torch.from_numpy(volume[:, :, :, 0]), [torch.from_numpy(m) for m in (a, b)])
    np.testing.assert_allclose(
        plane, np.einsum("xi,yj,cij->cxy", a, b, volume[..., 0], optimize=True), atol=1e-3
    )


def test_apply_along_axes_takes_noncontiguous_volumes_and_gives_gradients(rng):
    volume = torch.from_numpy(rng.standard_normal((2, 3, 4, 2))).movedim(-1, 0).requires_grad_()
    matrices = [torch.from_numpy(rng.standard_normal((3, n))) for n in (2, 3, 4)]
    assert torch.autograd.gradcheck(lambda v: apply_along_axes(v, matrices), (volume,))


def test_a_matrix_that_was_made_without_gradients_can_be_differentiated_through():
    with torch.inference_mode():
        box_matrix(19, 5, 3)
    volume = torch.ones(1, 19, requires_grad=True)
    apply_along_axes(volume, [box_matrix(19, 5, 3)]).sum().backward()
    assert volume.grad.sum() == pytest.approx(19)
