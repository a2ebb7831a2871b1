import numpy as np
import pytest
import torch
from pretrain_samples import at, tiny_config

from dinoreg.pretrain.views.geometry import ViewGeometry
from dinoreg.pretrain.views.pair import assemble
from dinoreg.pretrain.views.render import RenderedView


def assembled(*overrides, seed=0, seen=(None, None)):
    """Points of two views that lie upon each other, of a large structure 1 and a small one 2."""
    size = 24
    grid = torch.from_numpy(np.indices((size,) * 3).astype(np.float32))
    ids = np.ones((size,) * 3, np.uint8)
    ids[3:13, 12:22, 4:14] = 2
    everything = torch.ones(size, size, size, dtype=torch.bool)
    first, second = (RenderedView(everything.float(), everything if s is None else s) for s in seen)
    settings = tiny_config("views.size=24", *overrides).views
    geometry = ViewGeometry(grid, grid, grid)
    return assemble(first, second, geometry, ids, settings, np.random.default_rng(seed)).points, ids


@pytest.mark.parametrize(("balanced", "share"), [(0.0, 0.0723), (0.5, 0.286), (1.0, 0.5)])
def test_small_structures_get_their_share_of_the_points(balanced, share):
    drawn = [assembled(f"views.balanced={balanced}", "views.clustered=1", seed=s) for s in range(10)]
    small = [float((at(ids, points[1].numpy()) == 2).mean()) for points, ids in drawn]
    assert np.mean(small) == pytest.approx(share, abs=0.04)


def test_points_lie_in_clusters():
    def near(clustered):
        points = assembled(f"views.clustered={clustered}", "views.cluster_radius=2.0")[0][1]
        distance = torch.cdist(points, points).fill_diagonal_(1e9)
        return float((distance.min(dim=1).values < 2 * 3**0.5 + 0.1).float().mean())

    assert near(4) > 0.9
    assert near(1) < near(4) - 0.3


@pytest.mark.parametrize("clustered", [1, 3, 8])
def test_no_more_points_than_asked(clustered):
    points, _ = assembled(f"views.clustered={clustered}")
    assert 0.6 * 96 < points.shape[1] <= 96


@pytest.mark.parametrize("view", [0, 1])
def test_clusters_do_not_leave_what_is_seen(view):
    seen = torch.zeros(24, 24, 24, dtype=torch.bool)
    seen[5:12, 9:15, 3:21] = True
    points, _ = assembled("views.cluster_radius=6.0", seen=(seen, None) if view == 0 else (None, seen))
    assert points.shape[1] > 30
    assert at(seen.numpy(), points[1].numpy()).all()
    torch.testing.assert_close(points[0], points[1], atol=0, rtol=0)
