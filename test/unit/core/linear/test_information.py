import numpy as np
import pytest
from linear_scans import pair, rigid
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from dinoreg.linear.information import information, information_gradient
from dinoreg.linear.levels import Resolution, compare_both

TRUTH = rigid((5, -7, 9), (3, -5, 7))
NEAR = rigid((3, -4, 7), (6, -3, 4))


@pytest.fixture(scope="module")
def both():
    return compare_both(*pair(TRUTH), Resolution(6.0, 3000, 16, edge=True))


def independent(comparison, matrix):
    """The same number by scipy: interpolation, B-spline and hat kernels, entropies."""
    at = comparison.to_index @ matrix @ np.c_[comparison.points, np.ones(len(comparison.points))].T
    shape = np.array(comparison.moving.shape)[:, None]
    inside = ((at[:3] >= -0.5) & (at[:3] <= shape - 0.5)).all(axis=0)
    read = map_coordinates(comparison.moving, at[:3, inside], order=1, mode="nearest")
    cubic = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    bins = np.arange(comparison.bins)
    of_moving = np.nan_to_num(cubic(read[:, None] - bins))
    of_fixed = np.clip(1 - np.abs(comparison.fixed[inside][:, None] - bins), 0, None)
    joint = of_fixed.T @ of_moving / inside.sum()

    def entropy(p):
        return -(p[p > 1e-12] * np.log(p[p > 1e-12])).sum()

    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint), inside.mean()


@pytest.mark.parametrize("matrix", [np.eye(4), NEAR, rigid((0, 0, 30), (60, -40, 10))])
def test_it_is_the_information_of_the_joint_histogram(both, matrix):
    for comparison in (both.forward, both.backward):
        value, inside = independent(comparison, matrix)
        found = information(comparison, matrix)
        assert found.value == pytest.approx(value, rel=1e-4)
        assert found.inside == pytest.approx(inside, abs=2e-3)


def test_the_gradient_is_that_of_small_steps(rng):
    """Where hardly a sample enters or leaves either image: that is not part of it."""
    both = compare_both(*pair(TRUTH), Resolution(6.0, 3000, 16, edge=False))
    score, gradient = both.score_gradient(NEAR)
    assert score.inside > 0.997
    for _ in range(4):
        step = np.zeros((4, 4))
        step[:3, :3], step[:3, 3] = 1e-4 * rng.standard_normal((3, 3)), 4e-3 * rng.standard_normal(3)
        change = both.score(NEAR + step).value - both.score(NEAR - step).value
        assert change == pytest.approx(2 * float((gradient * step).sum()), rel=0.08, abs=1e-5)


def test_it_is_largest_at_the_truth(both):
    best = both.score(TRUTH).value
    assert best > both.score(NEAR).value > both.score(np.eye(4)).value


def test_images_that_never_meet_tell_nothing(both):
    score, gradient = information_gradient(both.forward, rigid((0, 0, 0), (1e4, 0, 0)))
    assert (score.value, score.inside) == (1.0, 0.0)
    assert not gradient.any()
