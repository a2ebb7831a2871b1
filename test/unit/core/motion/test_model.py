import numpy as np
import pytest
import torch
from motion_samples import moving_disc, tiny_config
from safetensors.torch import load_file

from dinoreg.encoders.registry import LoadedEncoder
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.errors import ConfigError
from dinoreg.motion.cines.thresholds import Thresholds
from dinoreg.motion.cines.window import place_window, sample_frames, window_points
from dinoreg.motion.network.adapters import adapted_model, adapter_size, merge_lora
from dinoreg.motion.network.backbone import build_net
from dinoreg.motion.network.checkpoint import load_tracker, write_weights
from dinoreg.motion.network.model import centre_of_mass, grid_prior
from dinoreg.motion.network.sampling import prepare, windows_of
from dinoreg.motion.settings import load_motion_config

CPU = torch.device("cpu")


def test_centre_of_mass_of_a_gaussian_is_its_mean():
    """Narrow against the map, so that nothing is cut off; not square, not centred."""
    rows, columns = np.meshgrid(np.arange(40), np.arange(56), indexing="ij")
    gaussian = np.exp(-((rows - 17.3) ** 2 + (columns - 31.8) ** 2) / (2 * 2.0**2))
    found = centre_of_mass(torch.from_numpy(gaussian)[None, None])
    # the centre of cell i is (2 i + 1) / n - 1
    assert found[0, 0].tolist() == pytest.approx([(2 * 17.3 + 1) / 40 - 1, (2 * 31.8 + 1) / 56 - 1], abs=1e-6)


def test_centre_of_mass_is_differentiable(rng):
    weights = torch.from_numpy(rng.uniform(0.1, 1, (1, 2, 5, 4))).requires_grad_()
    assert torch.autograd.gradcheck(centre_of_mass, (weights,))


def test_the_prior_puts_landmarks_on_a_grid():
    found = centre_of_mass(grid_prior(9, 60, 0.03).exp()[None])[0]
    nodes = [-2 / 3, 0, 2 / 3]
    expected = [[a, b] for a in nodes for b in nodes]
    assert found.numpy() == pytest.approx(np.array(expected), abs=2e-3)


def test_windows_are_isotropic_in_mm():
    sequence = moving_disc()
    settings = tiny_config("window.pixels=36").window
    square = place_window(settings, (40, 52), (1.5, 2.0), sequence.target, "disc")
    assert square.to_mm(torch.tensor([[0.0, 0.0]]))[0].tolist() == pytest.approx([30, 50], abs=1.0)
    corners = square.to_mm(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert (corners[1] - corners[0]).tolist() == pytest.approx([60, 60], abs=1e-4)
    ramp = torch.arange(40.0)[:, None] * 1.5 + 1000 * torch.arange(52.0)[None] * 2.0
    points = window_points(36)[None]
    sampled = sample_frames(ramp[None, None], square, points)[0, 0]
    at_mm = square.to_mm(points)[0]
    inside = (at_mm >= 0).all(-1) & (at_mm[..., 0] <= 39 * 1.5) & (at_mm[..., 1] <= 51 * 2.0)
    expected = at_mm[..., 0] + 1000 * at_mm[..., 1]
    assert inside.float().mean() > 0.7
    assert sampled[inside].numpy() == pytest.approx(expected[inside].numpy(), rel=1e-4)


def test_points_survive_the_way_to_voxels_and_back(rng):
    square = place_window(tiny_config().window, (40, 52), (1.5, 2.0), moving_disc().target, "disc")
    points = torch.from_numpy(rng.uniform(-1, 1, (7, 2))).float()
    assert square.from_voxels(square.to_voxels(points)).numpy() == pytest.approx(points.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ('encoder={name = "mind"}', "lora.rank=0"),
        ("landmarks.upsamplings=1", "landmarks.prior_width=0.0", "landmarks.count=5"),
    ],
)
def test_a_net_gives_its_number_of_landmarks_within_the_window(overrides):
    config = load_motion_config(overrides=("window.pixels=32", *overrides))
    net = build_net(config, CPU)
    found = net(windows_of(prepare(moving_disc(), config), torch.tensor([0, 2])))
    assert found.shape == (2, config.landmarks.count, 2)
    assert found.abs().max() < 1


def _tiny_dinov2(normalisation="none"):
    """A transformer of the real kind with random weights; patches of 14."""
    from transformers import Dinov2Config, Dinov2Model

    from dinoreg.encoders.vit.dinov2 import Dinov2Encoder
    from dinoreg.encoders.vit.dinov2_keys import Architecture

    torch.manual_seed(3)
    settings = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
        attn_implementation="sdpa",
        use_mask_token=False,
    )
    architecture = Architecture(32, 2, 4, grid=4)
    return Dinov2Encoder(Dinov2Model(settings), architecture, normalisation).eval().requires_grad_(False)


def _dino_config(*overrides):
    return load_motion_config(
        overrides=(
            'encoder={name = "dinov2", variant = "vitb14"}',
            "window.pixels=56",
            "window.side_mm=60.0",
            "landmarks.count=16",
            "landmarks.decoder=[16]",
            *overrides,
        )
    )


def _dino_net(config):
    return build_net(config, CPU, load=lambda settings, device: LoadedEncoder(_tiny_dinov2()))


def test_lora_is_that_of_peft():
    config = _dino_config()
    net = _dino_net(config)
    # 2 blocks x 2 layers x (A: 4 x 32, B: 32 x 4)
    assert adapter_size(net) == 2 * 2 * (4 * 32 + 32 * 4)
    trainable = {name for name, value in net.named_parameters() if value.requires_grad}
    assert all("lora_" in name or name.startswith(("decoder.", "prior")) for name in trainable)
    assert adapter_size(_dino_net(_dino_config("lora.rank=0"))) == 0


def test_adapters_start_without_effect_and_merge_into_the_same_function():
    config = _dino_config()
    windows = windows_of(prepare(moving_disc(), config), torch.tensor([0, 3]))
    torch.manual_seed(0)
    net = _dino_net(config).eval()
    with torch.no_grad():
        before = net.tokens(windows)
        assert before.numpy() == pytest.approx(_tiny_dinov2()(windows).patches.numpy(), abs=1e-5)
        for name, value in net.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.2)
        adapted = net.tokens(windows)
        assert (adapted - before).abs().max() > 1e-2
        merge_lora(net.tokens.encoder)
        assert adapted_model(net) is None
        assert net.tokens(windows).numpy() == pytest.approx(adapted.numpy(), abs=1e-4)


def test_only_adapter_and_decoder_are_saved_and_come_back(tmp_path):
    config = _dino_config()
    windows = windows_of(prepare(moving_disc(), config), torch.tensor([0]))
    net = _dino_net(config).eval()
    with torch.no_grad():
        for value in net.trained_tensors().values():
            value.add_(0.05 * torch.randn_like(value))
    write_weights(tmp_path, config, net, Thresholds(0.1, 0.2))
    saved = load_file(tmp_path / "weights.safetensors")
    assert all("lora_" in name or name.startswith(("decoder.", "prior")) for name in saved)
    assert sum("lora_" in name for name in saved) == 8
    read, theirs, limits = load_tracker(
        tmp_path, CPU, load=lambda settings, device: LoadedEncoder(_tiny_dinov2())
    )
    assert theirs == config
    assert limits == Thresholds(0.1, 0.2)
    with torch.no_grad():
        assert torch.equal(read(windows), net(windows))


def test_layers_that_are_not_there():
    with pytest.raises(ConfigError, match="no layer to adapt"):
        _dino_net(_dino_config('lora.layers=["query"]'))


def test_an_encoder_is_a_slice_encoder():
    encoder = build_net(tiny_config(), CPU).tokens.encoder
    assert isinstance(encoder, SliceEncoder)
    tokens = encoder(torch.rand(2, 1, 32, 40))
    assert tokens.patches.shape == (2, 16, 8, 10)
    assert tokens.cls.shape == (2, 16)
