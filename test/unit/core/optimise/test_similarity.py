import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_reference import SHAPE, box, smooth_noise

from dinoreg.optimise.similarity import lcc, ncc, ssd


def _tensors(rng, shape, channels=2):
    return [torch.from_numpy(smooth_noise(shape, rng, sigma=1.0, channels=channels)) for _ in range(2)]


def _lcc_by_scipy(fixed, warped, window, weight=None):
    f, w = fixed.numpy().astype(np.float64), warped.numpy().astype(np.float64)
    variance = [box(v**2, window) - box(v, window) ** 2 for v in (f, w)]
    covariance = box(f * w, window) - box(f, window) * box(w, window)
    squared = covariance**2 / (variance[0] * variance[1] + 1e-5 * (variance[0] ** 2).mean())
    if weight is None:
        return 1 - squared.mean()
    return 1 - (squared.mean(axis=0) * weight.numpy()[0]).sum() / weight.numpy().sum()


def test_ssd_by_hand():
    # Two voxels, two channels: differences (1, 2) and (3, 0). Sums 1 + 4 and 9 + 0, mean 7; by weights
    # 0.5 and 1.5: (0.5 * 5 + 1.5 * 9) / 2 = 8.
    fixed = torch.tensor([[[[1.0, 5.0]]], [[[0.0, 4.0]]]])
    warped = torch.tensor([[[[2.0, 2.0]]], [[[2.0, 4.0]]]])
    assert float(ssd(fixed)(warped, None)) == 7
    assert float(ssd(fixed)(warped, torch.tensor([[[[0.5, 1.5]]]]))) == 8
    assert float(ssd(fixed)(warped, torch.zeros(1, 1, 1, 2))) == 0


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 1, 34)])
@pytest.mark.parametrize("window", [3, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_lcc_equals_scipy(shape, window, weighted, rng):
    fixed, warped = _tensors(rng, shape)
    warped = 0.6 * fixed + 0.4 * warped + 3.0
    weight = torch.from_numpy(rng.uniform(size=(1, *shape))).float() if weighted else None
    found = lcc(fixed, window=window)(warped, weight)
    assert 0.1 < float(found) < 0.9
    assert float(found) == pytest.approx(_lcc_by_scipy(fixed, warped, window, weight), abs=2e-4)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (2.5, -4.0), (-0.7, 100.0)])
def test_lcc_does_not_see_an_affine_change_of_intensities(scale, offset, rng):
    fixed, other = _tensors(rng, SHAPE)
    similarity = lcc(fixed, window=9)
    assert float(similarity(scale * fixed + offset, None)) < 5e-3
    plain = float(similarity(other, None))
    assert float(similarity(scale * other + offset, None)) == pytest.approx(plain, abs=5e-3)
    assert plain > 0.8


def test_lcc_of_flat_features_is_finite_and_scores_nothing(rng):
    fixed, _ = _tensors(rng, (10, 12, 14))
    flat = torch.full_like(fixed, 0.3).requires_grad_()
    score = lcc(fixed, window=5)(flat, None)
    score.backward()
    assert score.item() == pytest.approx(1, abs=1e-3)
    assert torch.isfinite(flat.grad).all()
    assert float(lcc(flat.detach(), window=5)(fixed, None)) == pytest.approx(1, abs=1e-3)


def test_weights_exclude_voxels(rng):
    fixed, warped = _tensors(rng, SHAPE)
    warped = 0.5 * fixed + 0.5 * warped
    corrupted = warped.clone()
    corrupted[:, 12:] = 50.0
    weight = torch.ones(1, *SHAPE)
    weight[:, 12:] = 0
    assert float(ssd(fixed)(corrupted, weight)) == pytest.approx(float(ssd(fixed)(warped, weight)))
    weight[:, 12 - 2 :] = 0  # a window of 5 reaches 2 voxels
    score = [float(lcc(fixed, window=5)(v, weight)) for v in (corrupted, warped)]
    assert score[0] == pytest.approx(score[1], abs=1e-3)
    assert float(lcc(fixed, window=5)(corrupted, None)) > score[1] + 0.05


def test_gradients_of_ssd(rng):
    fixed, warped, weight = (torch.from_numpy(rng.uniform(size=(c, 3, 4, 5))) for c in (2, 2, 1))
    warped.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: ssd(fixed)(v, None), (warped,))
    assert torch.autograd.gradcheck(lambda v: ssd(fixed)(v, weight), (warped,))


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_lcc_equals_that_of_a_plain_implementation(weighted, rng):
    fixed, other = _tensors(rng, (8, 9, 10))
    warped = 0.5 * fixed + 0.5 * other
    weight = torch.from_numpy(rng.uniform(size=(1, 8, 9, 10))).float() if weighted else None
    found = warped.clone().requires_grad_()
    lcc(fixed, window=5)(found, weight).backward()

    def mean(v):
        return F.avg_pool3d(F.pad(v[None], [2] * 6, mode="replicate"), 5, stride=1)[0]

    f, w = fixed.double(), warped.double().requires_grad_()
    f_variance, w_variance = mean(f**2) - mean(f) ** 2, mean(w**2) - mean(w) ** 2
    covariance = mean(f * w) - mean(f) * mean(w)
    squared = covariance**2 / (f_variance * w_variance + 1e-5 * (f_variance**2).mean())
    share = torch.ones(1, 8, 9, 10) if weight is None else weight
    (1 - (squared.mean(dim=0, keepdim=True) * share).sum() / share.sum()).backward()
    assert w.grad.abs().max() > 1e-4
    np.testing.assert_allclose(found.grad, w.grad, atol=1e-3 * float(w.grad.abs().max()))


@pytest.mark.parametrize("weighted", [False, True])
def test_ncc_equals_numpy(weighted, rng):
    fixed, other = _tensors(rng, (6, 7, 8))
    warped = 0.6 * fixed + 0.4 * other - 2.0
    weight = torch.from_numpy(rng.integers(1, 4, size=(1, 6, 7, 8))).float() if weighted else None
    repeats = np.ones(fixed[0].numel(), int) if weight is None else weight.int().numpy().ravel()
    pairs = [[np.repeat(v[c].numpy().ravel(), repeats) for v in (fixed, warped)] for c in range(len(fixed))]
    expected = 1 - np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs])
    assert 0.05 < expected < 0.9
    assert float(ncc(fixed)(warped, weight)) == pytest.approx(expected, abs=2e-4)


def test_ncc_sees_the_sign_of_contrast_but_not_its_scale(rng):
    fixed, _ = _tensors(rng, (20, 26))
    assert float(ncc(fixed)(2.5 * fixed + 4, None)) == pytest.approx(0, abs=1e-4)
    assert float(ncc(fixed)(-0.3 * fixed + 4, None)) == pytest.approx(2, abs=1e-3)


def test_ncc_of_flat_images_is_finite_and_scores_one(rng):
    fixed, _ = _tensors(rng, (10, 12))
    flat = torch.full_like(fixed, 0.3).requires_grad_()
    score = ncc(fixed)(flat, None)
    score.backward()
    assert score.item() == pytest.approx(1, abs=1e-3)
    assert torch.isfinite(flat.grad).all()
    again = ncc(flat.detach())(fixed.clone().requires_grad_(), None)
    assert float(again.detach()) == pytest.approx(1, abs=1e-3)


def test_gradients_of_ncc(rng):
    fixed, warped, weight = (torch.from_numpy(rng.uniform(size=(c, 3, 4, 5))) for c in (2, 2, 1))
    warped.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: ncc(fixed)(v, None), (warped,))
    assert torch.autograd.gradcheck(lambda v: ncc(fixed)(v, weight), (warped,))
