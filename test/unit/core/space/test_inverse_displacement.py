"""The inverse of a displacement, by the compiled kernel and by torch."""

import numpy as np
import pytest
import torch
from core_reference import positions, smooth_noise
from scipy import ndimage

from dinoreg.space import compose as module
from dinoreg.space.compose import inverse_displacement

SHAPE = (26, 31, 22)


def waves(height, rng, shape=SHAPE):
    """A smooth displacement about an asymmetric shift, (3, I, J, K) voxels."""
    bumps = np.stack([smooth_noise(shape, rng, sigma=4.0) for _ in range(3)])
    return (np.array([3.0, -5.0, 7.0])[:, None, None, None] / 4 + height * bumps).astype(np.float32)


def there_and_back(u, v):
    """How far from where it began a voxel ends that goes by v and then by u, both read by scipy."""
    at = positions(u.shape[1:]) + v
    onward = np.stack([ndimage.map_coordinates(one, at, order=1, mode="nearest") for one in u])
    return np.linalg.norm(v + onward, axis=0)


@pytest.fixture(params=["compiled", "torch"])
def by(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(module, "on_cpu", lambda *volumes: False)


@pytest.mark.parametrize("height", [0.0, 1.0])
def test_there_and_back_leads_to_where_it_began(by, height, rng):
    u = waves(height, rng)
    v = inverse_displacement(torch.from_numpy(u)).numpy()
    assert there_and_back(u, v).max() < 0.021
    assert np.abs(v).max() > 0.5


def test_where_space_grows_threefold_full_steps_would_not_end(by):
    x = positions(SHAPE)
    along = x[0] - 12.3
    u = np.zeros((3, *SHAPE), np.float32)
    u[0], u[1] = 2.0 * along * np.exp(-((along / 5) ** 2)), -1.5
    assert np.gradient(u[0], axis=0).max() > 1.8
    v = inverse_displacement(torch.from_numpy(u)).numpy()
    assert there_and_back(u, v).max() < 0.021


def test_both_find_the_same(monkeypatch, rng):
    u = torch.from_numpy(waves(1.0, rng))
    compiled = inverse_displacement(u)
    monkeypatch.setattr(module, "on_cpu", lambda *volumes: False)
    assert float((compiled - inverse_displacement(u)).abs().max()) < 0.2


def test_a_shift_is_undone_beyond_the_grid_as_well(by):
    shift = torch.tensor([3.0, -5.0, 7.0]).view(3, 1, 1, 1).expand(3, *SHAPE)
    torch.testing.assert_close(inverse_displacement(shift), -shift.contiguous())


def test_a_single_slice_stays_in_its_plane(by, rng):
    u = waves(1.0, rng, (26, 31, 1))
    u[2] = 0
    v = inverse_displacement(torch.from_numpy(u)).numpy()
    assert not v[2].any()
    assert np.quantile(there_and_back(u, v), 0.99) < 0.021


def test_folds_end_finite_and_nearer_than_they_began(by, rng):
    u = torch.from_numpy(waves(12.0, rng))
    v = inverse_displacement(u)
    assert bool(torch.isfinite(v).all())
    missed = there_and_back(u.numpy(), v.numpy())
    assert missed.mean() < 0.8 * np.linalg.norm(u.numpy(), axis=0).mean()
