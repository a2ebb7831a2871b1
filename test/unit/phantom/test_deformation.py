import numpy as np
import pytest

from dinoreg.phantom import Bump, SmoothDeformation, task_lattice
from dinoreg.phantom.pairs import PAIRS


@pytest.fixture
def points():
    lattice = task_lattice("small")
    return lattice.to_mm(lattice.voxel_grid())[::11]


@pytest.mark.parametrize("plan", PAIRS, ids=lambda plan: plan.name)
@pytest.mark.parametrize("seed", range(4))
def test_deformations_of_the_task_do_not_fold(plan, seed, points):
    deformation = plan.deformation(np.random.default_rng(seed))
    assert np.linalg.det(deformation.jacobian(points)).min() > 0.3


def test_motion_is_as_large_as_asked(points):
    deformation = PAIRS[0].deformation(np.random.default_rng(0))
    length = np.linalg.norm(deformation(points) - points, axis=1)
    assert 14 < length.max() < 28


def test_jacobian_is_the_derivative(points):
    deformation = PAIRS[3].deformation(np.random.default_rng(2))
    some, step = points[::97], 1e-4
    numeric = np.stack(
        [
            (deformation(some + step * axis) - deformation(some - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ],
        axis=-1,  # [n, component, direction]
    )
    np.testing.assert_allclose(deformation.jacobian(some), numeric, atol=1e-7)


def test_bump_by_hand():
    """At one sigma along x the push is exp(-1/2) of its full size."""
    deformation = SmoothDeformation((1, 2, 3), (Bump((0, 0, 0), (10, 0, -4), (5, 6, 7)),))
    moved = deformation(np.array([[0.0, 0, 0], [5, 0, 0]]))
    fade = np.exp(-0.5)
    np.testing.assert_allclose(moved, [[11, 2, -1], [6 + 10 * fade, 2, 3 - 4 * fade]])


def test_inverse(points):
    deformation = PAIRS[3].deformation(np.random.default_rng(1))
    np.testing.assert_allclose(deformation.inverse_at(deformation(points)), points, atol=1e-6)


def test_bump_without_width_is_refused():
    with pytest.raises(ValueError, match="sigma"):
        Bump((0, 0, 0), (1, 0, 0), (5, 0, 5))
