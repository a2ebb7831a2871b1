import numpy as np
import pytest
import torch
from core_reference import smooth_noise

from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.start.slice_matching import match_slices, slice_descriptors, slice_distances

SHAPE = (8, 9, 14)
ALL = torch.ones(4, dtype=torch.bool)

# Fixed slices 0..3 against moving slices 0..3. The closest pairs: (0, 2) 0.1, (3, 0) 0.2, (1, 3) 0.3.
DISTANCES = torch.tensor(
    [
        [5.0, 4.0, 0.1, 4.0],
        [4.0, 5.0, 4.0, 0.3],
        [6.0, 6.0, 5.0, 4.0],
        [0.2, 6.0, 6.0, 5.0],
    ]
)


def _features(values, weight):
    return Features(
        torch.from_numpy(values).float(),
        torch.from_numpy(weight).float(),
        Lattice(values.shape[1:], (1, 1, 1), (1.0, 1.0, 1.0)),
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_descriptors_are_weighted_means_and_spreads(axis, rng):
    values, weight = rng.standard_normal((2, *SHAPE)), rng.uniform(size=(1, *SHAPE))
    found, valid = slice_descriptors(_features(values, weight), axis)
    assert found.shape == (SHAPE[axis], 4)
    assert valid.all()
    for n in range(SHAPE[axis]):
        for channel in range(2):
            v, w = np.take(values[channel], n, axis).ravel(), np.take(weight[0], n, axis).ravel()
            mean = np.average(v, weights=w)
            spread = np.sqrt(np.average((v - mean) ** 2, weights=w))
            np.testing.assert_allclose(found[n, channel], mean, atol=1e-5)
            np.testing.assert_allclose(found[n, 2 + channel], spread, atol=1e-5)


def test_slices_with_hardly_any_foreground_take_no_part(rng):
    weight = np.zeros((1, *SHAPE))
    weight[..., 3] = 1  # 72 cells; 5 % are 3.6
    weight[0, 0, :3, 5] = 1
    weight[0, 0, :4, 6] = 1
    _, valid = slice_descriptors(_features(rng.standard_normal((2, *SHAPE)), weight), 2)
    assert valid.nonzero().flatten().tolist() == [3, 6]


def test_distances_standardise_every_channel(rng):
    fixed, moving = rng.standard_normal((5, 3)), rng.standard_normal((6, 3))
    fixed[:, 1] *= 1000
    moving[:, 1] = 1000 * moving[:, 1] + 4
    spread = np.concatenate([fixed, moving]).std(axis=0, ddof=1)
    expected = np.sqrt((((fixed[:, None] - moving[None]) / spread) ** 2).sum(axis=2))
    found = slice_distances(torch.from_numpy(fixed).float(), torch.from_numpy(moving).float())
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("closest", "expected"),
    [
        (1, 2.0),  # (0, 2): +2
        (2, -0.5),  # and (3, 0): -3; mean -1/2
        (3, 1 / 3),  # and (1, 3): +2; mean 1/3
    ],
)
def test_published_rule(closest, expected):
    found = match_slices(DISTANCES, ALL, ALL, closest=closest, robust=False)
    assert found == pytest.approx(expected)


def test_published_rule_with_more_pairs_than_there_are():
    # The mean over all 16 pairs of m - n is 0; over fixed slice 3 alone: -3, -2, -1, 0.
    only = torch.tensor([False, False, False, True])
    assert match_slices(DISTANCES, ALL, ALL, closest=100, robust=False) == 0
    assert match_slices(DISTANCES, only, ALL, closest=100, robust=False) == -1.5


def test_robust_rule():
    # At least half of 4 slices must meet. Shift +2: (0, 2), (1, 3), mean 0.2; -3 and +3 have one pair only;
    # the rest is at 4 or above. A single look-alike, (3, 0) at -3, does not decide.
    assert match_slices(DISTANCES, ALL, ALL, closest=1, robust=True) == 2
    twin = DISTANCES.clone()
    twin[3, 0] = 0.0
    assert match_slices(twin, ALL, ALL, closest=1, robust=True) == 2
    assert match_slices(twin, ALL, ALL, closest=1, robust=False) == -3


@pytest.mark.parametrize("robust", [True, False])
def test_invalid_slices_take_no_part(robust):
    fixed_valid = torch.tensor([False, False, True, True])
    # Left: (2, m) and (3, m). Published, closest 1: (3, 0) at -3. Robust: half of 2 valid ones is one pair.
    assert match_slices(DISTANCES, fixed_valid, ALL, closest=1, robust=robust) == -3
    none = torch.zeros(4, dtype=torch.bool)
    assert match_slices(DISTANCES, none, ALL, closest=1, robust=robust) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift", [3, -2])
@pytest.mark.parametrize("robust", [True, False])
def test_finds_a_planted_shift_between_stacks(axis, shift, robust, rng):
    shape = [8, 9, 10]
    shape[axis] = 14 + 3
    whole = smooth_noise(tuple(shape), rng, sigma=0.8, channels=4)
    fixed, moving = (np.take(whole, range(s, s + 14), axis + 1) for s in (max(0, shift), max(0, -shift)))
    # moving[m] = whole[m + max(0, -shift)], fixed[n] = whole[n + max(0, shift)]: m = n + shift
    pairs = [slice_descriptors(_features(v, np.ones((1, *v.shape[1:]))), axis) for v in (fixed, moving)]
    distances = slice_distances(pairs[0][0], pairs[1][0])
    assert match_slices(distances, pairs[0][1], pairs[1][1], closest=5, robust=robust) == shift


@pytest.mark.parametrize(("robust", "tolerance"), [(True, 1.0), (False, 1.5)])
@pytest.mark.parametrize("shift", [4, -5, 7])
def test_positions_of_slices_that_are_several_voxels_apart(shift, robust, tolerance, rng):
    # Descriptors of every third slice of a stack whose slices change slowly, and of the stack moved by
    # `shift`, which is no multiple of 3. The last interval is shorter: 40 and 41.
    stack = smooth_noise((70, 1, 1), rng, sigma=4.0, channels=6)[:, :, 0, 0].T
    at = torch.tensor([*range(1, 41, 3), 41]).float()
    fixed = torch.from_numpy(stack[at.long() + 10])
    moving = torch.from_numpy(stack[at.long() + 10 - shift])
    valid = torch.ones(len(at), dtype=torch.bool)
    found = match_slices(
        torch.cdist(fixed, moving), valid, valid, closest=8, robust=robust, fixed_at=at, moving_at=at
    )
    assert found == pytest.approx(shift, abs=tolerance)


def test_published_rule_is_the_mean_difference_of_positions():
    # As above, pairs (0, 2), (3, 0) and (1, 3), at 0 -> 7, 9 -> 1 and 3 -> 12: 7, -8 and 9.
    fixed_at, moving_at = torch.tensor([0.0, 3.0, 6.0, 9.0]), torch.tensor([1.0, 4.0, 7.0, 12.0])
    found = match_slices(DISTANCES, ALL, ALL, closest=3, robust=False, fixed_at=fixed_at, moving_at=moving_at)
    assert found == pytest.approx(8 / 3)


def test_stacks_that_never_meet_enough_stay_where_they_are():
    # At no shift more than one of the four slices of each meets the other stack; half of them have to.
    found = match_slices(
        torch.rand(4, 4, generator=torch.Generator().manual_seed(1)),
        ALL,
        ALL,
        closest=5,
        robust=True,
        fixed_at=torch.tensor([0.0, 100.0, 200.0, 300.0]),
        moving_at=torch.tensor([50.0, 51.0, 52.0, 53.0]),
    )
    assert found == 0
