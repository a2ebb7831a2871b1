import core_reference as reference
import numpy as np
import pytest
import torch
from core_reference import SHIFT, shifted_pair

from dinoreg.optimise import coupled_convex
from dinoreg.optimise.cost_volume import CostVolume, make_cost_volume
from dinoreg.optimise.coupled_convex import COUPLING, solve_coupled_convex

CASES = [((4, 5, 6), (1, 2, 1)), ((5, 4, 3), (0, 3, 2)), ((6, 1, 5), (2, 0, 1)), ((5, 7), (2, 1))]


@pytest.mark.parametrize(("shape", "radius"), CASES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 2.0, 4.0)])
@pytest.mark.parametrize("coupling", [(), (0.3,), COUPLING])
@pytest.mark.parametrize("compiled", [True, False])
def test_equals_brute_force(shape, radius, spacing, coupling, compiled, rng, monkeypatch):
    if not compiled:  # as on a GPU
        monkeypatch.setattr(coupled_convex, "on_cpu", lambda *volumes: False)
    costs = rng.uniform(size=(int(np.prod([2 * r + 1 for r in radius])), *shape)).astype(np.float32)
    spacing = spacing[: len(shape)]
    found = solve_coupled_convex(
        CostVolume(torch.from_numpy(costs), radius), spacing_mm=spacing, coupling=coupling
    )
    expected = reference.coupled_convex(costs, radius, spacing, coupling)
    assert found.shape == (len(shape), *shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_compiled_search_takes_the_first_of_equal_candidates_and_none_without_a_number(rng):
    costs = rng.integers(0, 4, (3, 5, 3, 2500)).astype(np.float32)  # more cells than are searched together
    costs[0, :, :, 700:1400] = np.nan
    found = coupled_convex._cheapest_on_cpu(torch.from_numpy(costs), None, [0.0] * 3)
    expected = np.unravel_index(np.nanargmin(costs.reshape(45, -1), axis=0), (3, 5, 3))
    np.testing.assert_array_equal(found, np.subtract(expected, np.reshape((1, 2, 1), (3, 1))))
    nothing = torch.full((3, 5, 3, 4), float("nan"))
    first = torch.tensor((-1.0, -2.0, -1.0)).view(3, 1)
    assert (coupled_convex._cheapest_on_cpu(nothing, None, [0.0] * 3) == first).all()


def test_compiled_search_weighs_the_distance_per_axis(rng):
    costs = rng.random((3, 5, 7, 1100), dtype=np.float32)
    near, weights = 2 * rng.standard_normal((3, 1100), dtype=np.float32), (0.3, 0.05, 0.2)
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in costs.shape[:3]), indexing="ij"))
    away = np.square(grid[..., None] - near.astype(float)[:, None, None, None])
    total = costs + np.einsum("a,a...->...", weights, away)
    expected = np.unravel_index(total.reshape(105, -1).argmin(axis=0), costs.shape[:3])
    found = coupled_convex._cheapest_on_cpu(torch.from_numpy(costs), torch.from_numpy(near), weights)
    np.testing.assert_array_equal(found, np.subtract(expected, np.reshape((1, 2, 3), (3, 1))))


@pytest.mark.parametrize(("spacing", "expected"), [((1.0, 1.0, 1.0), 0.0), ((1.0, 4.0, 4.0), 1 / 3)])
def test_distances_are_measured_in_millimetres(spacing, expected):
    # Three cells along the third axis: the middle one wants to move along the first (0 against 0.2 for
    # staying), the others to stay (0 against 5). The smoothed argmin is 1/3 everywhere. With coupling 1,
    # moving costs the middle cell 0 + m (2/3)^2 and staying 0.2 + m (1/3)^2, m = (spacing_0 / mean)^2: it
    # stays where m > 0.6. The means 1 and 3 give m = 1 and m = 1/9.
    costs = torch.full((9, 1, 1, 3), 9.0)
    stay, move = 1 * 3 + 1, 2 * 3 + 1  # (0, 0, 0) and (1, 0, 0) of radius (1, 0, 1)
    costs[stay], costs[move] = 0.0, 5.0
    costs[stay, ..., 1], costs[move, ..., 1] = 0.2, 0.0
    found = solve_coupled_convex(CostVolume(costs, (1, 0, 1)), spacing_mm=spacing, coupling=(1.0,))
    np.testing.assert_allclose(found[0].flatten(), expected, atol=1e-6)
    np.testing.assert_array_equal(found[1:].flatten(), 0)


@pytest.mark.parametrize("shift", [SHIFT, (-3, 5, -7), (0, 0, -4)])
def test_recovers_whole_cell_shifts(shift, rng):
    shape, radius = (12, 18, 26), [abs(t) for t in shift]
    fixed, moving = shifted_pair(shape, shift, rng, sigma=1.0, channels=2)
    volume = make_cost_volume(torch.from_numpy(fixed), torch.from_numpy(moving), radius)
    found = solve_coupled_convex(volume, spacing_mm=(1.5, 0.8, 2.5))
    # Where the match lies inside, and two boxes of 3 do not reach beyond.
    box = tuple(slice(r + 2, n - r - 2) for r, n in zip(radius, shape, strict=True))
    median = found[(slice(None), *box)].flatten(1).median(dim=1).values
    np.testing.assert_allclose(median, shift, atol=1e-3)
