"""Windowed cubic interpolation against scipy's, inside, at the border, beyond it, and on thin images."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from regeval.metrics import splines
from regeval.metrics.splines import cubic_at


def scipy_values(field, points):
    return np.stack(
        [map_coordinates(field[..., c].astype(float), points.T, order=3, mode="constant") for c in range(3)],
        1,
    )


@pytest.mark.parametrize("shape", [(60, 50, 70), (9, 8, 7), (2, 3, 40), (5, 6, 1)])
def test_as_scipy(shape):
    rng = np.random.default_rng(2)
    field = rng.normal(size=(*shape, 3)).astype(np.float32) * 30
    points = rng.uniform(-1, 1, (200, 3)) + rng.uniform(0, 1, (200, 3)) * (np.array(shape) - 1)
    points[:8] = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, 8).T
    points[8] = np.array(shape) // 2
    if shape[2] == 1:
        points[:, 2] = 0
    expected = scipy_values(field, points)
    assert (expected == 0).all(axis=1).any()
    assert (expected != 0).all(axis=1).sum() > 30
    np.testing.assert_allclose(cubic_at(field, points), expected, rtol=0, atol=1e-8)


def test_many_points_take_the_other_way_to_the_same_values(monkeypatch):
    rng = np.random.default_rng(3)
    field = rng.normal(size=(30, 31, 32, 3)).astype(np.float32)
    points = rng.uniform(0, 29, (50, 3))
    windowed = cubic_at(field, points)
    monkeypatch.setattr(splines, "_MANY", 50)
    np.testing.assert_allclose(cubic_at(field, points), windowed, rtol=0, atol=1e-9)
    assert not (cubic_at(field, points) == windowed).all()
