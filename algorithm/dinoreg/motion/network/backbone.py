"""What turns windows into tokens: a registered encoder, frozen or adapted, or a small network of our own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinoreg.encoders import base
from dinoreg.encoders.registry import Load, build_mind, load_encoder
from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.vit.slice_input import patch_grid
from dinoreg.errors import ConfigError
from dinoreg.motion.network.adapters import attach_lora
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.settings import MotionConfig, Small
from dinoreg.settings.config import Mind
from regtask.errors import Fault

# Pixels per token side of an encoder that has one feature vector per pixel.
_POOLED = 4


class SmallEncoder(SliceEncoder):
    """Strided convolutions to tokens, then residual blocks whose dilation widens what a token sees."""

    def __init__(self, settings: Small) -> None:
        super().__init__()
        self.patch_size, self.channels = settings.patch_size, settings.width
        halvings = settings.patch_size.bit_length() - 1
        layers: list[nn.Module] = []
        channels = 1
        for number in range(halvings):
            width = max(8, settings.width >> (halvings - 1 - number) >> 3 << 3)
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.GELU()]
            channels = width
        self.stem = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(_Block(settings.width, dilation) for dilation in settings.dilations)

    def forward(self, slices: Tensor) -> SliceTokens:
        """Encode (B, 1, H, W) slices in [0, 1], sides multiples of the patch size."""
        patch_grid(slices, self.patch_size)
        patches = self.stem(2 * slices - 1)
        for block in self.blocks:
            patches = block(patches)
        return SliceTokens(patches, patches.mean(dim=(2, 3)))


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(width, width, 1)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, patches: Tensor) -> Tensor:
        found: Tensor = self.second(F.gelu(self.norm(self.first(patches))))
        return patches + found


class _PatchTokens(nn.Module):
    def __init__(self, encoder: SliceEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, windows: Tensor) -> Tensor:
        tokens: SliceTokens = self.encoder(windows)
        return tokens.patches


class _PooledFeatures(nn.Module):
    """Features per pixel, (channels, S, S), averaged to tokens."""

    def __init__(self, encoder: base.Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, windows: Tensor) -> Tensor:
        features = torch.stack([self.encoder(window) for window in windows])
        return F.avg_pool2d(features, _POOLED)


def build_net(config: MotionConfig, device: torch.device, *, load: Load = load_encoder) -> LandmarkNet:
    """Return the network of a configuration; new weights come from torch's global generator.

    Args:
        config: of the tracker.
        device: where the network goes.
        load: how registered encoders are found.

    Raises:
        WeightsError: the encoder's weights are absent or do not fit.
        ConfigError: adapters for an encoder that takes none, or a window of another size than its patches.
    """
    settings = config.encoder
    tokens: nn.Module
    if isinstance(settings, Mind):
        volume_encoder = build_mind(settings, rank=2)
        tokens, channels, patch = _PooledFeatures(volume_encoder), volume_encoder.channels, _POOLED
    else:
        if isinstance(settings, Small):
            encoder: SliceEncoder = SmallEncoder(settings)
        else:
            loaded = load(settings, torch.device("cpu")).encoder
            if not isinstance(loaded, SliceEncoder):
                raise TypeError(f"an encoder of slices expected, got {type(loaded).__name__}")
            encoder = loaded
            if config.lora.rank:
                attach_lora(encoder, config.lora)
        tokens, channels, patch = _PatchTokens(encoder), encoder.channels, encoder.patch_size
    pixels = config.window.pixels
    if pixels % patch:
        raise ConfigError(
            Fault("window not made of patches", "window.pixels", f"a multiple of {patch}", str(pixels))
        )
    return LandmarkNet(tokens, channels, pixels // patch, config.landmarks).to(device)
