from dataclasses import replace

import numpy as np
import pytest
import torch
from pretrain_samples import at, blocks, tiny_config
from scipy.ndimage import map_coordinates

from dinoreg.pretrain.anatomy.labels import Kind, LabelVolume
from dinoreg.pretrain.anatomy.random_body import random_body
from dinoreg.pretrain.views import geometry as geometry_module
from dinoreg.pretrain.views import pair as pair_module
from dinoreg.pretrain.views.pair import draw_field, draw_pair
from dinoreg.pretrain.views.render import read_labels

STILL = ("views.rotation_degrees=0", "views.scale=1", "views.stretch=1", "views.elastic=[0.0, 0.0]")


@pytest.fixture
def draw(monkeypatch):
    """Draw a pair of `blocks`; returns it with its geometry and fields of view."""

    def drawn(*overrides, seed=0, volume=None):
        kept, fields = [], []

        def geometry(*arguments):
            kept.append(original[0](*arguments))
            return kept[-1]

        def field(*arguments):
            fields.append(original[1](*arguments))
            return fields[-1]

        with monkeypatch.context() as patch:
            original = geometry_module.draw_geometry, pair_module.draw_field
            patch.setattr(geometry_module, "draw_geometry", geometry)
            patch.setattr(pair_module, "draw_field", field)
            settings = tiny_config("views.size=24", *overrides).views
            pair = draw_pair(volume or blocks(), settings, np.random.default_rng(seed))
        return pair, kept[-1], fields

    return drawn


def read(positions, points):
    """Positions (3, S, S, S) at points (N, 3), linearly, by scipy; (3, N)."""
    return np.stack([map_coordinates(p, points.numpy().T.astype(float), order=1) for p in positions.numpy()])


@pytest.mark.parametrize("seed", range(8))
def test_points_are_the_same_place_of_the_anatomy(draw, seed):
    volume = blocks()
    pair, geometry, _ = draw(seed=seed, volume=volume)
    first, second = pair.points
    assert len(first) > 20
    one, two = read(geometry.first, first), read(geometry.second, second)
    # Half a voxel beyond the last one of the first view, scipy sees its border.
    within = ((first >= 0) & (first <= 23)).all(dim=1).numpy()
    np.testing.assert_allclose(one[:, within], two[:, within], atol=1e-3)
    # And so the same structure, but where a position lies on the edge of a voxel.
    edge = (np.abs(two - np.floor(two) - 0.5) < 1e-3).any(axis=0)
    clear = within & ~edge
    assert clear.sum() > 15
    np.testing.assert_array_equal(at(volume.ids, one.T[clear]), at(volume.ids, two.T[clear]))
    assert (at(volume.ids, two.T) > 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_points_are_voxels_of_the_second_view_seen_in_both(draw, seed):
    pair, _, fields = draw("views.hidden_borders=[0.8, 0.8, 0.8]", seed=seed)
    first, second = (points.numpy() for points in pair.points)
    assert (second == np.rint(second)).all()
    assert 0 < len(second) <= 96
    assert len(np.unique(second, axis=0)) == len(second)
    for seen, field, points in zip(pair.seen.numpy(), fields, (first, second), strict=True):
        assert (points > -0.51).all()
        assert (points < 23.51).all()
        assert at(seen, points).all()
        assert not (seen & ~field.numpy()).any()


def test_fewer_voxels_than_points(draw):
    pair, *_ = draw("views.points=100000", "views.clustered=1")
    assert 0 < pair.points.shape[1] <= int(pair.seen[1].sum())


def test_thirty_seeds_give_usable_images():
    settings = tiny_config().views
    volumes = [blocks(), blocks(oriented=False), random_body((32, 32, 32), np.random.default_rng(1))]
    counts = []
    for seed in range(30):
        pair = draw_pair(volumes[seed % 3], settings, np.random.default_rng(seed))
        assert pair.images.shape == pair.seen.shape == (2, 16, 16, 16)
        assert pair.images.dtype == pair.points.dtype == torch.float32
        assert pair.images.isfinite().all()
        assert pair.points.isfinite().all()
        assert pair.images.min() >= 0
        assert pair.images.max() <= 1
        counts.append(pair.points.shape[1])
    assert np.median(counts) > 30


def test_nothing_is_shown_outside_the_field_of_view(draw):
    hidden_body = 0
    for seed in range(24):
        pair, geometry, fields = draw("views.hidden_borders=[0.6, 0.6, 0.6]", seed=seed)
        volume = blocks()
        for image, seen, field, positions in zip(
            pair.images, pair.seen, fields, (geometry.first, geometry.second), strict=True
        ):
            assert not image[~field].any()
            body = torch.from_numpy(read_labels(volume, positions) > 0)
            assert torch.equal(seen, body & field)
            hidden_body += not image[~body].any()
    assert 24 < hidden_body < 48  # the mask is applied three times in four


def test_views_differ_in_contrast(draw):
    likeness = []
    for seed in range(12):
        pair, *_ = draw(*STILL, "views.shift=[0, 0, 0]", "views.hidden_borders=[0, 0, 0]", seed=seed)
        both = pair.seen.all(dim=0)
        likeness.append(float(torch.corrcoef(pair.images[:, both])[0, 1]))
    assert min(likeness) < 0.2
    assert max(likeness) < 0.99


@pytest.mark.parametrize(("mirrored", "sign"), [(0, 1), (1, -1)])
def test_oriented_anatomies_are_mirrored_as_often_as_asked(draw, mirrored, sign):
    for seed in range(3):
        overrides = (*STILL, "views.voxel_mm=[3.0, 3.0]", f"views.mirrored={mirrored}")
        _, geometry, _ = draw(*overrides, seed=seed)
        expected = sign * 3.0 / 2.0 * np.eye(3)
        for axis in range(3):
            step = geometry.first.diff(dim=1 + axis).reshape(3, -1).numpy()
            np.testing.assert_allclose(step - expected[:, axis : axis + 1], 0, atol=1e-3)


def test_voxels_are_as_large_as_asked(draw):
    sizes = []
    for seed in range(20):
        _, geometry, _ = draw(*STILL, "views.voxel_mm=[1.5, 4.0]", "views.mirrored=0", seed=seed)
        sizes.append(2.0 * float(geometry.first[2].diff(dim=2).mean()))
    assert 1.5 <= min(sizes) < 2
    assert 3.3 < max(sizes) <= 4.0


def test_others_may_lie_in_any_way(draw):
    seen = set()
    for seed in range(30):
        _, geometry, _ = draw(*STILL, seed=seed, volume=blocks(oriented=False))
        steps = np.stack(
            [geometry.first.diff(dim=1 + a).reshape(3, -1).mean(dim=1).numpy() for a in range(3)]
        )
        scale = np.abs(steps).max()
        assert 0.44 * 31 / 24 < scale < 1.11 * 31 / 24  # the shortest axis of the anatomy has 31 voxels
        turn = np.rint(steps / scale)
        np.testing.assert_allclose(steps / scale, turn, atol=1e-3)
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
        seen.add(turn.tobytes())
    assert len(seen) > 18  # of 48


def test_views_wander_as_far_as_they_show_the_anatomy(draw):
    """Across an axis that the view covers whole it stays near the middle; along a longer one it wanders."""
    volume = LabelVolume(np.ones((24, 24, 96), np.uint8), blocks().kinds, 2.0, oriented=True)
    middles = []
    for seed in range(40):
        overrides = (*STILL, "views.voxel_mm=[2.0, 2.0]", "views.mirrored=0", "views.size=24")
        _, geometry, _ = draw(*overrides, seed=seed, volume=volume)
        middles.append(geometry.first[:, 11:13, 11:13, 11:13].mean(dim=(1, 2, 3)).numpy())
    reach = np.abs(np.array(middles) - [11.5, 11.5, 47.5]).max(axis=0)
    assert (reach[:2] <= 0.06 * 24).all()
    assert (reach[:2] > 0.04 * 24).all()
    assert 30 < reach[2] <= 36


def test_views_are_drawn_anew_until_they_show_the_body(monkeypatch):
    """The body fills a sixth of a long anatomy."""
    drawn = []
    original = geometry_module.draw_geometry
    monkeypatch.setattr(
        geometry_module, "draw_geometry", lambda *given: drawn.append(original(*given)) or drawn[-1]
    )
    ids = np.zeros((24, 20, 120), np.uint8)
    ids[2:-2, 2:-2, 12:32] = 1
    volume = LabelVolume(ids, blocks().kinds, 2.0, oriented=True)
    settings = tiny_config("views.voxel_mm=[2.5, 2.5]", "views.shift=[0.3, 0.3, 0.9]").views
    repeated = 0
    for seed in range(12):
        drawn.clear()
        draw_pair(volume, settings, np.random.default_rng(seed))
        shares = [min((read_labels(volume, p) > 0).mean() for p in (g.first, g.second)) for g in drawn]
        assert len(shares) <= 4
        assert max(shares[:-1], default=0) < 0.08
        assert shares[-1] >= 0.08 or len(shares) == 4
        repeated += len(shares) > 1 and shares[-1] >= 0.08
    assert repeated >= 2


def test_fields_of_view_are_cut_along_the_axes_asked_for():
    settings = tiny_config("views.size=32", "views.hidden_borders=[0.0, 0.0, 1.0]").views
    fields = [draw_field(settings, np.random.default_rng(seed)) for seed in range(40)]
    boxes = [f for f in fields if len({bool(v) for v in f[:, :, 16].flatten()}) == 1]
    assert len(boxes) > 25  # the others are cylinders
    assert all(bool(f.flatten(1).any(dim=1).all()) and bool(f.any(dim=0).any(dim=1).all()) for f in boxes)
    assert not any(bool(f.any(dim=0).any(dim=0).all()) for f in boxes)


def test_fields_of_view_are_cut_as_often_as_asked():
    base = ("views.size=32", "views.hidden_share=[0.05, 0.35]")
    open_, cut = (tiny_config(*base, f"views.hidden_borders=[{n}, {n}, {n}]").views for n in (0, 1))
    whole = [bool(draw_field(open_, np.random.default_rng(seed)).all()) for seed in range(40)]
    assert 28 <= sum(whole) < 40  # one in ten is a cylinder
    ends = []
    for seed in range(40):
        field = draw_field(cut, np.random.default_rng(seed))
        for axis in range(3):
            along = field.movedim(axis, 0).flatten(1).any(dim=1)
            ends.append((bool(along[0]), bool(along[-1])))
            assert 32 - int(along.sum()) >= int(0.05 * 32)
            assert int(along.sum()) > 0.6 * 32
    assert not any(first and last for first, last in ends)
    assert {True, False} == {first for first, _ in ends}


def test_a_view_of_nothing_has_no_points():
    air = LabelVolume(np.zeros((20, 24, 28), np.uint8), np.array([Kind.AIR], np.uint8), 2.0, oriented=True)
    pair = draw_pair(air, tiny_config().views, np.random.default_rng(0))
    assert pair.points.shape == (2, 0, 3)
    assert not pair.seen.any()
    assert pair.images.isfinite().all()


def test_two_patients_meet_in_their_frame():
    """The other one is 1.25 times as long along axis 0, and its voxel 0 lies elsewhere."""
    frame, other_frame = np.array([[2.0, 2, 2], [0, 0, 0]]), np.array([[1.6, 2, 2], [6, -10, 14]])
    one = blocks(frame=frame)
    # A block of one patient covers 10 units of the frame: 6.25 voxels of the other along axis 0, else 5.
    places = np.indices((48, 40, 30)).reshape(3, -1)
    in_one = (places * other_frame[0][:, None] + other_frame[1][:, None]) / frame[0][:, None]
    nearest = np.rint(in_one).astype(int)
    inside = ((nearest >= 0) & (nearest < np.array(one.ids.shape)[:, None])).all(axis=0)
    ids = np.where(inside, one.ids[tuple(np.where(inside, nearest, 0))], 0).reshape(48, 40, 30)
    other = LabelVolume(ids.astype(np.uint8), one.kinds, 2.0, oriented=True, frame=other_frame)
    whole = ("views.mirrored=0", "views.hidden_borders=[0, 0, 0]")
    settings = tiny_config("views.size=24", *STILL, *whole).views
    found = draw_pair(one, settings, np.random.default_rng(3), other=other)
    same = draw_pair(one, settings, np.random.default_rng(3))
    assert found.slack > 0 == same.slack
    # The same geometry was drawn, and the same places are the same structures: only points near the edges of
    # blocks are lost, where both anatomies and the views are rounded to voxels.
    assert found.points.shape[1] > 0.5 * same.points.shape[1] > 30
    elsewhere = replace(other, frame=other_frame + np.array([[0, 0, 0], [7, -5, 3]]))
    lost = draw_pair(one, settings, np.random.default_rng(3), other=elsewhere)
    assert lost.points.shape[1] < 0.3 * same.points.shape[1]
    assert not torch.equal(found.images[1], same.images[1])


def test_points_of_two_patients_lie_in_the_same_structure(monkeypatch):
    read_ids = []
    original = pair_module.read_labels
    monkeypatch.setattr(
        pair_module,
        "read_labels",
        lambda volume, positions: read_ids.append(original(volume, positions)) or read_ids[-1],
    )
    frame = np.array([[2.0, 2, 2], [0, 0, 0]])
    one, other = blocks(frame=frame), blocks(frame=frame + np.array([[0, 0, 0], [3, -5, 7]]))
    settings = tiny_config("views.size=24").views
    pair = draw_pair(one, settings, np.random.default_rng(1), other=other)
    first, second = (points.round().long().numpy() for points in pair.points)
    assert 0 < len(first) < 80
    np.testing.assert_array_equal(read_ids[-2][tuple(first.T)], read_ids[-1][tuple(second.T)])
