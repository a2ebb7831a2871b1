from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from dinoreg.pretrain.anatomy.labels import Kind
from dinoreg.pretrain.anatomy.random_body import random_body
from dinoreg.pretrain.anatomy.shapes import Canvas, organ, tube, wandering_path

SHAPE = (40, 52, 46)
SEEDS = range(12)


@pytest.fixture(scope="module")
def bodies():
    return [random_body(SHAPE, np.random.default_rng(seed)) for seed in SEEDS]


def test_every_id_has_a_kind_and_outside_is_air(bodies):
    for body in bodies:
        assert body.ids.shape == SHAPE
        assert body.ids.dtype == body.kinds.dtype == np.uint8
        assert body.ids.max() < len(body.kinds) <= 255
        assert body.kinds[0] == Kind.AIR
        assert not (body.kinds[1:] == Kind.AIR).any()
        assert set(body.kinds.tolist()) <= {int(kind) for kind in Kind}
        assert 0.7 <= body.spacing_mm <= 3.0
        assert not body.oriented


def test_the_body_is_one_piece_with_air_around(bodies):
    for seed, body in zip(SEEDS, bodies, strict=True):
        inside = body.ids > 0
        assert 0.08 < inside.mean() < 0.95, seed
        labels, _ = ndimage.label(inside)
        assert np.bincount(labels.ravel())[1:].max() > 0.97 * inside.sum(), seed
        assert not inside[[0, 0, -1, -1], [0, -1, 0, -1], 0].all(), seed


def test_seeds_repeat_and_differ(bodies):
    again = random_body(SHAPE, np.random.default_rng(0))
    np.testing.assert_array_equal(again.ids, bodies[0].ids)
    np.testing.assert_array_equal(again.kinds, bodies[0].kinds)
    assert again.spacing_mm == bodies[0].spacing_mm
    for one, other in pairwise(bodies):
        assert (one.ids != other.ids).mean() > 0.1
        assert one.spacing_mm != other.spacing_mm


def test_all_tissues_occur(bodies):
    found = Counter(int(k) for b in bodies for k in np.unique(b.kinds[np.unique(b.ids)]))
    assert all(found[kind] >= 2 for kind in Kind), found
    assert found[Kind.BONE] >= len(bodies) / 3
    assert found[Kind.BLOOD] >= 0.9 * len(bodies)
    assert np.median([len(np.unique(b.ids)) for b in bodies]) > 20


def test_there_are_thin_things_and_thick_things(bodies):
    """Vessels and skin are lost by an opening of a few voxels; organs are not."""
    thin, thick = 0, 0
    for body in bodies:
        for structure in np.unique(body.ids)[1:]:
            inside = body.ids == structure
            kept = ndimage.binary_opening(inside, iterations=2).sum()
            thin += inside.sum() > 30 and kept == 0
            thick += kept > 0.5 * inside.sum()
    assert thin > 5 * len(bodies)
    assert thick > 2 * len(bodies)


def test_layers_lie_around_the_cavity(bodies):
    """What the outermost voxels of a body are: skin, fat or muscle in most bodies, not organs."""
    layered = 0
    for body in bodies:
        inside = body.ids > 0
        skin = inside & ~ndimage.binary_erosion(inside, border_value=1)
        (most, _), *_ = Counter(body.kinds[body.ids[skin]].tolist()).most_common(1)
        layered += most in (Kind.MUSCLE, Kind.FAT)
    assert layered > 0.7 * len(bodies)


def test_a_tube_follows_its_path():
    canvas = Canvas(np.zeros((30, 20, 24), np.uint8))
    path = np.column_stack([np.linspace(5, 25, 41), np.full(41, 9.0), np.full(41, 12.0), np.full(41, 4.0)])
    tube(canvas, path.astype(np.float32), [Kind.MUSCLE, Kind.GAS], wall=0.5)
    volume = canvas.finish(1.0)
    i, j, k = np.indices(volume.ids.shape)
    distance = np.sqrt((i - np.clip(i, 5, 25)) ** 2 + (j - 9.0) ** 2 + (k - 12.0) ** 2)
    kinds = volume.kinds[volume.ids]
    assert (kinds[distance < 1.9] == Kind.GAS).all()
    assert (kinds[(distance > 2.1) & (distance < 3.9)] == Kind.MUSCLE).all()
    assert (kinds[distance > 4.1] == Kind.AIR).all()


def test_a_path_is_smooth_and_a_voxel_a_step(rng):
    path = wandering_path(np.array([3.0, -5.0, 7.0]), np.array([0.0, 2.0, 0.0]), 60, 3.0, 0.1, rng)
    assert path.shape == (60, 4)
    steps = np.diff(path[:, :3], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 1, atol=1e-4)
    assert (np.einsum("na,na->n", steps[1:], steps[:-1]) > 0.7).all()
    assert path[0, 3] == 3.0
    assert (np.diff(path[:, 3]) <= 0).all()
    assert path[-1, 3] >= 1.2


def test_an_organ_is_nested_and_stays_in_the_cavity(rng):
    canvas = Canvas(np.zeros((40, 36, 44), np.uint8))
    canvas.cavity[:, :, 25:] = False
    centre, radii = np.array([20, 17, 22], np.float32), np.array([12, 8, 10], np.float32)
    organ(canvas, centre, radii, [Kind.ORGAN, Kind.FLUID], rng)
    kinds = canvas.finish(1.0).kinds[canvas.ids]
    assert not kinds[:, :, 25:].any()
    outer, inner = (kinds == kind for kind in (Kind.ORGAN, Kind.FLUID))
    assert outer.sum() > 100
    assert inner.sum() > 100
    seen_from_inside = ndimage.binary_dilation(inner) & ~inner
    assert not (seen_from_inside & ~outer)[:, :, :24].any()


def test_more_structures_than_ids():
    canvas = Canvas(np.zeros((4, 5, 6), np.uint8))
    everything = (slice(None),) * 3
    for _ in range(300):
        canvas.fill(everything, np.ones((4, 5, 6), bool), Kind.ORGAN)
    volume = canvas.finish(1.0)
    assert volume.ids.max() == len(volume.kinds) - 1 <= 254
