import numpy as np
import pytest
import torch
from random_dino3d import random_network, without_statistics

from dinoreg.encoders.dino3d.network import Dino3dNetwork
from dinoreg.encoders.dino3d.tiles import encode_tiles

SIZE = (48, 40, 96)


@pytest.fixture
def volume(rng):
    return torch.from_numpy(rng.random((1, *SIZE), dtype=np.float32))


@pytest.mark.parametrize(("tile", "count"), [(96, 1), (40, 6), (19, 3 * 3 * 6), (64, 2)])
def test_tiles_are_the_whole_but_for_the_statistics(volume, tile, count, monkeypatch):
    without_statistics(monkeypatch)
    network = random_network()
    found, tiles = encode_tiles(network, volume, tile=tile)
    assert tiles == count
    whole = network(volume[None])[0]
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)
    assert found.movedim(0, -1).is_contiguous()


def test_tiles_are_near_the_whole(volume):
    network = random_network()
    found, tiles = encode_tiles(network, volume, tile=40)
    assert tiles > 1
    likeness = (found * network(volume[None])[0]).sum(dim=0)
    assert float(likeness.mean()) > 0.98


def test_tiles_that_see_too_little_are_not(volume, monkeypatch):
    without_statistics(monkeypatch)
    monkeypatch.setattr(Dino3dNetwork, "reach", 0)
    network = random_network()
    found, _ = encode_tiles(network, volume, tile=40)
    assert float((found - network(volume[None])[0]).abs().max()) > 0.01


@pytest.mark.parametrize(("widths", "depths"), [((4,), (2,)), ((4, 6), (1, 2)), ((4, 6, 8), (1, 1, 1))])
def test_nothing_beyond_the_reach_counts(widths, depths, monkeypatch):
    without_statistics(monkeypatch)
    network = random_network(widths, depths, 4)
    half = (network.reach // network.multiple + 2) * network.multiple
    side = network.multiple
    line = torch.rand(1, 1, 2 * half, side, side, generator=torch.Generator().manual_seed(1))
    changed = line.clone()
    changed[:, :, :half] += 1
    same = (network(changed) == network(line)).all(dim=1)[0].flatten(1).all(dim=1)
    differing = int((~same).nonzero().max())
    assert half < 2 * differing < half + network.reach


def test_half_precision_is_close(volume):
    network = random_network()
    found, _ = encode_tiles(network, volume, tile=96, precision=torch.bfloat16)
    assert found.dtype == torch.float32
    likeness = (found * network(volume[None])[0]).sum(dim=0)
    assert float(likeness.min()) > 0.98
