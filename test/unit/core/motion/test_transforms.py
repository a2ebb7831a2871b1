import math

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from dinoreg.errors import NumericalError
from dinoreg.motion.transforms import fit_residual, solve, solve_affine, solve_rigid, solve_tps


def _points(rng, count=20, batch=2):
    return torch.from_numpy(rng.uniform(-1, 1, (batch, count, 2))).float()


def _rotation(degrees):
    a = math.radians(degrees)
    return torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])


@pytest.mark.parametrize("degrees", [0, 35, -120, 180])
def test_rigid_recovers_rotation_and_shift(degrees, rng):
    source = _points(rng)
    target = source @ _rotation(degrees).T + torch.tensor([0.3, -0.5])
    found = solve_rigid(source, target)
    assert found.matrix[1, :, :2].numpy() == pytest.approx(_rotation(degrees).numpy(), abs=1e-5)
    assert found.matrix[0, :, 2].tolist() == pytest.approx([0.3, -0.5], abs=1e-5)


def test_rigid_is_kabsch(rng):
    """With noise the optimum is that of the singular value decomposition (Kabsch 1976), per element."""
    source = _points(rng, batch=1)
    target = source @ _rotation(50).T + torch.from_numpy(rng.normal(0, 0.3, source.shape)).float()
    a, b = (v[0].double().numpy() - v[0].double().numpy().mean(axis=0) for v in (source, target))
    u, _, vt = np.linalg.svd(a.T @ b)
    d = np.sign(np.linalg.det(vt.T @ u.T))
    assert solve_rigid(source, target).matrix[0, :, :2].numpy() == pytest.approx(
        vt.T @ np.diag([1, d]) @ u.T, abs=1e-5
    )


def test_affine_recovers_and_is_least_squares(rng):
    source = _points(rng)
    matrix, shift = torch.tensor([[1.2, -0.4], [0.3, 0.8]]), torch.tensor([3.0, -5.0])
    found = solve_affine(source, source @ matrix.T + shift)
    assert found.matrix[0, :, :2].numpy() == pytest.approx(matrix.numpy(), abs=1e-4)
    assert found.matrix[0, :, 2].tolist() == pytest.approx(shift.tolist(), abs=1e-4)
    noisy = source @ matrix.T + torch.from_numpy(rng.normal(0, 0.2, source.shape)).float()
    design = np.concatenate([source[1].numpy(), np.ones((20, 1))], axis=1)
    best = np.linalg.lstsq(design, noisy[1].numpy(), rcond=None)[0].T
    assert solve_affine(source, noisy).matrix[1].numpy() == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.01, 1.0])
def test_tps_is_that_of_scipy(smoothing, rng):
    source, target, at = _points(rng), _points(rng), _points(rng, count=50)
    found = solve_tps(source, target, smoothing=smoothing).apply(at)
    for number in range(2):
        reference = RBFInterpolator(
            source[number].numpy(),
            target[number].numpy(),
            kernel="thin_plate_spline",
            degree=1,
            smoothing=smoothing,
        )
        assert found[number].numpy() == pytest.approx(reference(at[number].numpy()), abs=1e-3)


def test_tps_interpolates_at_lambda_0_and_not_above(rng):
    source, target = _points(rng).double(), _points(rng).double()
    assert solve_tps(source, target).apply(source).numpy() == pytest.approx(target.numpy(), abs=1e-9)
    smoothed = solve_tps(source, target, smoothing=1.0).apply(source)
    assert (smoothed - target).abs().max() > 0.1


def test_tps_of_an_affine_map_is_that_map(rng):
    source, at = _points(rng), _points(rng, count=7)
    matrix = torch.tensor([[0.9, 0.3], [-0.2, 1.1]])
    found = solve_tps(source, source @ matrix.T).apply(at)
    assert found.numpy() == pytest.approx((at @ matrix.T).numpy(), abs=1e-4)


def test_tps_in_another_unit_is_the_same_with_lambda_times_its_square(rng):
    source, target, at = _points(rng), _points(rng), _points(rng, count=7)
    found = solve_tps(64 * source, 64 * target, smoothing=0.05 * 64**2).apply(64 * at) / 64
    assert found.numpy() == pytest.approx(
        solve_tps(source, target, smoothing=0.05).apply(at).numpy(), abs=1e-4
    )


@pytest.mark.parametrize("kind", ["rigid", "affine", "tps"])
def test_gradients(kind, rng):
    source, target = (_points(rng, count=6, batch=1).double().requires_grad_() for _ in range(2))
    at = _points(rng, count=4, batch=1).double()
    assert torch.autograd.gradcheck(
        lambda a, b: solve(kind, a, b, smoothing=0.1).apply(at), (source, target), eps=1e-6, atol=1e-5
    )


def test_the_gradient_is_finite_where_points_meet_centres(rng):
    source = _points(rng).requires_grad_()
    solve_tps(source, _points(rng), smoothing=0.1).apply(source.detach()).sum().backward()
    assert bool(torch.isfinite(source.grad).all())


def test_residual_by_hand():
    """Two opposite corners move by +d, the others by -d: no affine map explains it, all of d is left."""
    source = torch.tensor([[[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]])
    target = source + 0.2 * torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]])
    assert float(fit_residual(source, target)) == pytest.approx(0.2, abs=1e-5)


def test_landmarks_on_one_point_are_refused():
    with pytest.raises(NumericalError, match="no transform fits"):
        solve_affine(torch.zeros(1, 5, 2), torch.zeros(1, 5, 2))


def test_too_few_landmarks():
    with pytest.raises(ValueError, match="3 or more"):
        solve("affine", torch.zeros(1, 2, 2), torch.zeros(1, 2, 2))
