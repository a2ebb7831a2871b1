"""The transformer in the place of the U-Net of `dino3d`."""

import json

import numpy as np
import pytest
import torch
from core_reference import SPACING, shifted_pair
from safetensors.torch import save_file
from transformers.models.dinov3_vit.modeling_dinov3_vit import apply_rotary_pos_emb

from dinoreg.encoders.dino3d.network import Dino3dNetwork
from dinoreg.encoders.dino3d.tiles import encode_tiles
from dinoreg.encoders.dino3d.vit import VitNetwork, rotary_angles
from dinoreg.encoders.dino3d.weights import read_dino3d, write_dino3d
from dinoreg.errors import WeightsError
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.load import load_preset
from dinoreg.weights.search import file_digest
from regtask import Grid

SIZE = (24, 16, 20)


def random_vit(size=32, seed=0):
    """A small network whose positions, attention and masks all matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VitNetwork(4, 24, 2, 2, size)
        for value in network.parameters():
            if value.ndim > 1:
                torch.nn.init.normal_(value, std=0.3)
        torch.nn.init.normal_(network.mask_token)
    return network.eval().requires_grad_(False)


@pytest.fixture
def volume(rng):
    return torch.from_numpy(rng.random((2, 1, *SIZE), dtype=np.float32))


def test_a_unit_vector_per_patch_and_a_token_for_the_whole(volume):
    network = random_vit()
    found = network(volume)
    assert found.shape == (2, 24, 6, 4, 5)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 6, 4, 5))
    cells, whole = network.levels(volume)
    assert whole.shape == (2, 24, 1, 1, 1)
    torch.testing.assert_close(torch.nn.functional.normalize(cells, dim=1), found)
    alone = network.levels(volume[1:])
    torch.testing.assert_close(alone[1][0], whole[1], atol=1e-5, rtol=1e-4)


def test_attention_depends_on_where_cells_lie_to_each_other(rng):
    """Rotary positions: the product of two tokens is that of their distance, along every axis by itself."""
    grid = torch.Size((4, 5, 3))
    angles = rotary_angles(grid, 30, torch.device("cpu"))
    assert angles.shape == (60, 30)
    one, two = (torch.from_numpy(rng.standard_normal(30)).float().expand(1, 1, 60, 30) for _ in range(2))
    q, k = apply_rotary_pos_emb(one, two, angles.cos(), angles.sin())
    products = (q[0, 0] @ k[0, 0].T).reshape(*grid, *grid)

    def at(cell, step):
        return products[(*cell, *(c + s for c, s in zip(cell, step, strict=True)))]

    steps = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, -1), (0, 0, 0)]
    values = [at((1, 1, 1), step) for step in steps]
    for value, step in zip(values, steps, strict=True):
        for cell in ((0, 2, 1), (2, 0, 1), (1, 1, 1)):
            torch.testing.assert_close(at(cell, step), value, atol=1e-4, rtol=1e-4)
    assert len({round(float(v), 3) for v in values}) == 5  # axes and distances are told apart


def test_the_slowest_rate_and_the_fastest():
    angles = rotary_angles(torch.Size((3, 1, 1)), 12, torch.device("cpu"))
    assert angles[2].tolist() == pytest.approx([2, 2 / 100, 0, 0, 0, 0] * 2)  # 10000^(-1/2)


def test_what_is_hidden_is_not_seen(volume):
    network = random_vit()
    hidden = torch.zeros(2, 1, 6, 4, 5, dtype=torch.bool)
    hidden[:, :, 2, 1, 3] = True
    changed = volume.clone()
    changed[:, :, 8:12, 4:8, 12:16] += 0.5
    torch.testing.assert_close(network(volume, hidden), network(changed, hidden), atol=0, rtol=0)
    assert (network(volume) - network(changed)).abs().max() > 0.05
    assert (network(volume) - network(volume, hidden)).abs().max() > 0.05


def test_a_volume_beyond_the_size_of_the_training_is_done_in_tiles_of_it(rng, monkeypatch):
    network = random_vit(size=48)
    volume = torch.from_numpy(rng.random((1, 96, 40, 44), dtype=np.float32))
    seen = []
    forward = VitNetwork.forward
    monkeypatch.setattr(
        VitNetwork, "forward", lambda self, image: seen.append(tuple(image.shape[2:])) or forward(self, image)
    )
    found, tiles = encode_tiles(network, volume, tile=384)
    assert found.shape == (24, 24, 10, 11)
    assert tiles == len(seen) == 6  # each answers for 16 voxels of 48
    assert {shape[1:] for shape in seen} == {(40, 44)}
    assert max(shape[0] for shape in seen) == 48
    whole, tiles = encode_tiles(network, volume[:, :48], tile=384)
    assert tiles == 1
    torch.testing.assert_close(whole, forward(network, volume[None, :, :48])[0])


def test_the_file_says_what_network_it_holds(tmp_path, volume):
    network, path = random_vit(), tmp_path / "vit.safetensors"
    write_dino3d(path, network, {"spacing_mm": 1.5})
    read, described = read_dino3d(path)
    assert isinstance(read, VitNetwork)
    assert described["network"] == "vit"
    assert (described["patch"], described["width"], described["depth"], described["heads"]) == (4, 24, 2, 2)
    assert read.largest == 32
    torch.testing.assert_close(read(volume), network(volume), atol=0.02, rtol=0)  # half precision
    unet = tmp_path / "unet.safetensors"
    write_dino3d(unet, Dino3dNetwork((4,), (1,), 4), {"spacing_mm": 1.5})
    assert isinstance(read_dino3d(unet)[0], Dino3dNetwork)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "mamba"}, "network mamba"),
        ({"heads": 5}, "channels per head"),
        ({"depth": 3}, "do not fit"),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path, changes, message):
    network, path = random_vit(), tmp_path / "vit.safetensors"
    described = {"format": "dino3d-1", "spacing_mm": 1.5, **network.described(), **changes}
    save_file(network.state_dict(), path, {"dino3d": json.dumps(described)})
    with pytest.raises(WeightsError, match=message):
        read_dino3d(path)


def test_it_registers(tmp_path, rng):
    """With random weights, which still tell places of one texture from others."""
    path = tmp_path / "vit.safetensors"
    write_dino3d(path, random_vit(size=64), {"spacing_mm": 2.0})
    shape, shift = (44, 40, 48), (3, -5, 7)
    fixed, moving = shifted_pair(shape, shift, rng)
    grid = Grid(shape, np.diag([*SPACING, 1.0]))
    scans = [Scan(values, grid, "MR") for values in (fixed, moving)]
    settings = (f"features.encoders.0.weights={path}", f"features.encoders.0.sha256={file_digest(path)}")
    found = register(ImagePair(*scans), load_preset("dino3d", settings), device=torch.device("cpu"))
    inner = tuple(slice(10, -10) for _ in shape)
    assert np.median(found.displacement[inner], axis=(0, 1, 2)) == pytest.approx(shift, abs=1.0)
