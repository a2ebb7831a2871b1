"""What the training and the encoder rely on in the network: where features lie, what they depend on."""

import pytest
import torch
import torch.nn.functional as F
from random_dino3d import random_network, without_statistics

from dinoreg.encoders.dino3d.network import Dino3dNetwork

LAYERS = [((4,), (2,)), ((4, 6), (1, 2)), ((4, 6, 8), (1, 1, 1))]


def volume(*shape, seed=1):
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("widths", "depths"), LAYERS)
def test_a_feature_depends_on_no_voxel_beyond_the_reach(widths, depths, axis, monkeypatch):
    without_statistics(monkeypatch)
    network = random_network(widths, depths, 4)
    shape = [2 * network.multiple] * 3
    cells = network.reach // network.multiple + 2
    shape[axis] = 2 * cells * network.multiple
    image, other = volume(*shape), volume(*shape, seed=2)
    middle = shape[axis] // 4
    for cell in range(middle - network.multiple // 2, middle):
        place = [n // 4 for n in shape]
        place[axis] = cell
        voxel = torch.arange(shape[axis]).view([-1 if a == axis else 1 for a in range(3)])
        beyond = (2 * cell - voxel).maximum(voxel - (2 * cell + 1))

        def feature(distance, place=place, beyond=beyond):
            return network(torch.where(beyond > distance, other, image))[(0, slice(None), *place)]

        torch.testing.assert_close(feature(network.reach), feature(shape[axis]), atol=1e-6, rtol=0)
        # Nor is it far too wide a bound.
        assert (feature(network.reach // 2) - feature(shape[axis])).abs().max() > 1e-5


@pytest.mark.parametrize("shift", [(16, 0, 0), (0, -16, 16)])
def test_features_move_with_the_image(shift, monkeypatch):
    without_statistics(monkeypatch)
    network = random_network((4, 6), (1, 1), 4)
    size, margin = 112, network.reach + 16
    image = volume(size, size, size)
    found, moved = network(image), network(torch.roll(image, shift, dims=(2, 3, 4)))
    expected = torch.roll(found, [s // 2 for s in shift], dims=(2, 3, 4))
    inner = (..., *[slice(margin // 2, (size - margin) // 2)] * 3)
    assert moved[inner].numel() > 100
    torch.testing.assert_close(moved[inner], expected[inner], atol=1e-5, rtol=0)
    assert (moved - found)[inner].abs().max() > 0.05


def test_what_is_hidden_has_no_influence():
    network = random_network()
    with torch.no_grad():
        network.mask_token.copy_(torch.linspace(-1, 1, 8))
    image, other = volume(16, 24, 32), volume(16, 24, 32, seed=2)
    hidden = torch.zeros(1, 1, 8, 12, 16, dtype=torch.bool)
    hidden[..., 2:6, 3:8, 5:11] = True
    voxels = hidden.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    found = network(image, hidden)
    # The stem reads the neighbours of a cell, so what is next to a hidden one still sees into it.
    inside = torch.zeros_like(voxels)
    inside[..., 6:10, 8:14, 12:20] = True
    assert (inside & ~voxels).sum() == 0
    assert torch.equal(network(torch.where(inside, other, image), hidden), found)
    assert not torch.equal(network(torch.where(inside, other, image)), network(image))
    assert (found - network(image)).abs().max() > 0.01
    everything = torch.ones_like(hidden)
    assert torch.equal(network(image, everything), network(other, everything))


def test_features_are_unit_vectors_of_half_resolution():
    network = random_network((8, 12), (1, 2), 6)
    found = network(volume(16, 8, 24))
    assert found.shape == (1, 6, 8, 4, 12)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 8, 4, 12))
    levels = network.levels(volume(16, 8, 24))
    assert [level.shape for level in levels] == [(1, 8, 8, 4, 12), (1, 12, 4, 2, 6)]
    torch.testing.assert_close(F.normalize(network.head(levels[0]), dim=1), found)


def test_as_many_depths_as_widths():
    with pytest.raises(ValueError, match="as many depths as widths, got 1 and 2"):
        Dino3dNetwork((4, 8), (1,), 4)
