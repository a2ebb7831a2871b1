import itertools

import core_reference as reference
import numpy as np
import pytest
import torch
from core_reference import shifted_pair

from dinoreg.optimise import cost_volume
from dinoreg.optimise.cost_volume import make_cost_volume

CASES = [((4, 5, 6), (1, 2, 1)), ((5, 4, 3), (0, 3, 2)), ((6, 1, 5), (2, 0, 1)), ((5, 7), (2, 1))]


def _pair(shape, rng, channels=3):
    return [rng.standard_normal((channels, *shape)).astype(np.float32) for _ in range(2)]


def _make(fixed, moving, radius, fixed_weight=None, moving_weight=None):
    weights = [None if w is None else torch.from_numpy(w) for w in (fixed_weight, moving_weight)]
    return make_cost_volume(
        torch.from_numpy(fixed),
        torch.from_numpy(moving),
        radius,
        fixed_weight=weights[0],
        moving_weight=weights[1],
    )


@pytest.mark.parametrize(("shape", "radius"), CASES)
@pytest.mark.parametrize("weighted", ["neither", "fixed", "moving", "both"])
@pytest.mark.parametrize("compiled", [True, False])
def test_equals_brute_force(shape, radius, weighted, compiled, rng, monkeypatch):
    if not compiled:  # as on a GPU
        monkeypatch.setattr(cost_volume, "on_cpu", lambda *volumes: False)
    fixed, moving = _pair(shape, rng)
    weights = {}
    for side in ("fixed", "moving"):
        if weighted in (side, "both"):
            weights[f"{side}_weight"] = rng.uniform(size=(1, *shape)).astype(np.float32).round(1)
    found = _make(fixed, moving, radius, **weights)
    assert found.costs.shape == (np.prod([2 * r + 1 for r in radius]), *shape)
    np.testing.assert_allclose(
        found.costs, reference.cost_volume(fixed, moving, radius, **weights), rtol=1e-4, atol=1e-4
    )


def test_inputs_are_left_alone(rng):
    fixed, moving = _pair((4, 5, 6), rng)
    weight = rng.uniform(size=(1, 4, 5, 6)).astype(np.float32)
    copies = [a.copy() for a in (fixed, moving, weight)]
    _make(fixed, moving, (1, 1, 1), weight, weight)
    for array, copy in zip((fixed, moving, weight), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("candidate", list(itertools.product((-1, 1), (-2, 0), (-3, 2))))
def test_order_of_the_candidates(candidate, rng):
    # Last axis fastest: (a, b, c) of radius (1, 2, 3) is number ((a + 1) * 5 + (b + 2)) * 7 + (c + 3).
    fixed, moving = shifted_pair((9, 11, 13), candidate, rng, sigma=0.7, channels=3)
    volume = _make(fixed, moving, (1, 2, 3))
    centre = volume.costs[:, 4, 5, 6]
    assert int(centre.argmin()) == ((candidate[0] + 1) * 5 + candidate[1] + 2) * 7 + candidate[2] + 3
    assert float(centre.min()) < 1e-6
    for axis, r in enumerate((1, 2, 3)):
        assert volume.axis_candidates(axis).tolist() == list(range(-r, r + 1))


def test_what_has_no_content_has_the_same_cost_for_every_candidate(rng):
    shape = (9, 10, 12)
    fixed, moving = _pair(shape, rng)
    weight = np.ones((1, *shape), dtype=np.float32)
    weight[:, :6] = 0
    costs = _make(fixed, moving, (1, 1, 1), fixed_weight=weight).costs
    empty = costs[:, :4]  # two boxes of 3 reach two cells
    torch.testing.assert_close(empty, torch.full_like(empty, float(empty.mean())))
    assert costs[:, 7:].std(dim=0).min() > 0.01
    nothing = _make(fixed, moving, (1, 1, 1), fixed_weight=0 * weight).costs
    assert torch.isfinite(nothing).all()
    assert nothing.std() == 0


def test_chunks_are_invisible(rng, monkeypatch):
    fixed, moving = _pair((5, 6, 7), rng)
    whole = _make(fixed, moving, (1, 2, 1)).costs
    monkeypatch.setattr(cost_volume, "_CHUNK_VALUES", 4 * 5 * 6 * 7)
    torch.testing.assert_close(_make(fixed, moving, (1, 2, 1)).costs, whole)
