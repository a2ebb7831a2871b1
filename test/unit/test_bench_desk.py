"""The scores of benchmarks/bench_desk.py, on grids of other handedness, and the pairs that it makes."""

import numpy as np
import pytest
from scipy import ndimage

import bench_desk
from desk_pairs import DeskPair, Volume, made
from regtask.grid import Grid


def stored(values, axes, flips):
    """A volume with its axes in another order and direction, in the same place."""
    moved = np.flip(values.transpose(axes), [n for n, flip in enumerate(flips) if flip])
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for n, axis in enumerate(axes):
        affine[axis, n] = -2.0 if flips[n] else 2.0
        affine[axis, 3] = 2.0 * (values.shape[axis] - 1) if flips[n] else 0.0
    return Volume(np.ascontiguousarray(moved), Grid(moved.shape, affine))


def body(shape=(24, 22, 20), sigma=2):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), sigma)
    return (1000 * (noise - noise.min())).astype(np.float32)


@pytest.mark.parametrize(
    ("axes", "flips"), [((0, 1, 2), (1, 0, 0)), ((1, 0, 2), (0, 0, 0)), ((2, 0, 1), (1, 1, 0))]
)
def test_the_same_scan_stored_otherwise_is_without_error(axes, flips):
    values = body()
    labels = (values > np.median(values)).astype(np.int16)
    pairs = [
        stored(array, *how) for array in (values, labels) for how in (((0, 1, 2), (0, 0, 0)), (axes, flips))
    ]
    points = np.random.default_rng(1).uniform(6, 30, (20, 3))
    pair = DeskPair("", "", *pairs[:2], (pairs[2], pairs[3]), (points, points))
    found = bench_desk.scores(pair, bench_desk.before(pair))
    assert (found["tre_mm"], found["dice"], found["hd95_mm"]) == (0, 1, 0)
    assert found["folding_percent"] == 0
    shifted = bench_desk.before(pair)
    shifted[..., 0] += 1
    assert bench_desk.scores(pair, shifted)["tre_mm"] == pytest.approx(2.0, abs=1e-4)


def test_a_made_pair_shows_the_same_at_its_landmarks():
    fixed = stored(body((60, 50, 55), 4), (0, 1, 2), (0, 0, 0))
    pair = made("", "", fixed, fixed, 1, breath_mm=6.0, spacing=(1.5, 1.8, 2.2))
    # Where a scan ends, the value beyond is mixed in.
    inner = [
        ((at > 1) & (at < np.subtract(part.grid.shape, 2))).all(axis=1)
        for part, points in zip((pair.fixed, pair.moving), pair.landmarks, strict=True)
        for at in [part.grid.ras_to_index(points)]
    ]
    here, there = (points[np.logical_and(*inner)] for points in pair.landmarks)
    assert len(here) > 100
    assert np.linalg.norm(here - there, axis=1).mean() > 4

    def at(volume, points):
        return ndimage.map_coordinates(volume.values, volume.grid.ras_to_index(points).T, order=1)

    assert np.corrcoef(at(pair.fixed, here), at(pair.moving, there))[0, 1] > 0.97
    assert np.corrcoef(at(pair.fixed, here), at(pair.moving, here))[0, 1] < 0.7
