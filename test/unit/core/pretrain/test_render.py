import numpy as np
import torch

from dinoreg.pretrain.anatomy.labels import Kind, LabelVolume
from dinoreg.pretrain.views import render as render_module
from dinoreg.pretrain.views.contrast import Contrast
from dinoreg.pretrain.views.render import draw_textures, read_labels, render_view


def test_labels_are_read_at_the_nearest_voxel():
    ids = np.arange(1, 61, dtype=np.uint8).reshape(3, 4, 5)
    volume = LabelVolume(ids, np.zeros(61, np.uint8), 1.0, oriented=True)
    places = [(1.4, 2.6, 3.4), (-0.4, 0, 4.4), (-0.6, 0, 0), (0, 0, 4.6), (2.4, 3.4, 0), (99, -3, 1)]
    positions = torch.tensor(places).T.reshape(3, 6, 1, 1)
    expected = [ids[1, 3, 3], ids[0, 0, 4], 0, 0, ids[2, 3, 0], 0]
    assert read_labels(volume, positions).ravel().tolist() == expected


def test_textures_move_with_the_tissue(monkeypatch):
    """Without artefacts, the same place of the anatomy looks the same in both views."""
    monkeypatch.setattr(render_module, "degrade", lambda image, rng, *, is_ct: image)
    textures = draw_textures(np.random.default_rng(1))
    ids, kinds = np.ones((16, 16, 16), np.uint8), np.array([Kind.AIR, Kind.ORGAN], np.uint8)
    positions = torch.from_numpy(np.indices((16,) * 3).astype(np.float32)) * 0.5 + 7
    field = torch.ones(16, 16, 16, dtype=torch.bool)

    def view(positions):
        return render_view(ids, kinds, positions, textures, field, np.random.default_rng(11)).image

    image, moved = view(positions), view(torch.roll(positions, 3, dims=1))
    assert image.std() > 0.005
    torch.testing.assert_close(torch.roll(image, 3, dims=0), moved)
    np.testing.assert_array_equal(textures.tiles[:, 0], textures.tiles[:, 48])
    assert (textures.tiles[:, :48, :48, :48].std(dim=(1, 2, 3)) - 1).abs().max() < 0.01


def test_brightness_is_that_of_the_contrast(monkeypatch):
    """Structures of an anatomy in CT without texture and artefacts, up to the window's own variation."""
    means = np.array([0, 0.2, 0.5, 0.9], np.float32)
    contrast = Contrast(means, np.zeros((4, 2), np.float32), is_ct=True)
    monkeypatch.setattr(render_module, "draw_contrast", lambda kinds, rng: contrast)
    monkeypatch.setattr(render_module, "degrade", lambda image, rng, *, is_ct: image)
    ids = np.random.default_rng(0).integers(0, 4, (8, 8, 8)).astype(np.uint8)
    textures = draw_textures(np.random.default_rng(1))
    field = torch.ones(8, 8, 8, dtype=torch.bool)
    field[5:] = False
    for seed in range(10):
        rng = np.random.default_rng(seed)
        view = render_view(ids, np.arange(4, dtype=np.uint8), torch.zeros(3, 8, 8, 8), textures, field, rng)
        assert torch.equal(view.seen, torch.from_numpy(ids > 0) & field)
        assert not view.image[5:].any()
        values = [view.image[:5].numpy()[ids[:5] == structure] for structure in range(4)]
        assert max(np.ptp(v) for v in values) == 0
        assert (np.diff([v[0] for v in values]) > 0).sum() >= 2
        np.testing.assert_allclose([v[0] for v in values], means, atol=0.25)
