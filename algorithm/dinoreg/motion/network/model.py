"""Frames to landmarks: an encoder, a convolutional decoder, and the centre of mass of each heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinoreg.motion.cines.window import window_points
from dinoreg.motion.network.adapters import adapter_tensors, load_adapter_tensors
from dinoreg.motion.settings import Landmarks


class LandmarkNet(nn.Module):
    """The same landmarks in every frame, in window coordinates.

    The frames of a pair are encoded one by one with the same weights (as in KeyMorph, Evan et al. 2022), so
    that a template is encoded once for a whole sequence.
    """

    def __init__(self, tokens: nn.Module, channels: int, grid: int, settings: Landmarks) -> None:
        """Assemble the network.

        Args:
            tokens: (B, 1, S, S) windows to (B, channels, grid, grid).
            channels: of a token.
            grid: tokens per side.
            settings: of the decoder and the landmarks.
        """
        super().__init__()
        self.tokens = tokens
        self.decoder = _decoder(channels, settings)
        side = grid * 2**settings.upsamplings
        self.prior = (
            nn.Parameter(grid_prior(settings.count, side, settings.prior_width))
            if settings.prior_width > 0
            else None
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the landmarks (B, N, 2) of windows (B, 1, S, S) in [0, 1]."""
        heat: Tensor = self.decoder(self.tokens(windows))
        if self.prior is not None:
            heat = heat + self.prior
        weights = heat.flatten(2).softmax(dim=2).reshape(heat.shape)
        return centre_of_mass(weights)

    def trained_tensors(self) -> dict[str, Tensor]:
        """Return what the training changes, by name; frozen weights of an encoder are not among it."""
        trained = {name for name, value in self.named_parameters() if value.requires_grad}
        state = {name: value for name, value in self.state_dict().items() if name in trained}
        own = {name: value for name, value in state.items() if "lora_" not in name}
        return own | adapter_tensors(self.tokens)

    def load_trained(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of `trained_tensors`, strictly.

        Raises:
            ValueError: names or shapes differ.
        """
        expected = {name: tuple(value.shape) for name, value in self.trained_tensors().items()}
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if expected != found:
            odd = sorted(set(expected.items()) ^ set(found.items()))
            raise ValueError(f"tensors that do not fit: {odd[:4]}")
        adapters = set(adapter_tensors(self.tokens))
        own = {name: value for name, value in tensors.items() if name not in adapters}
        self.load_state_dict(own, strict=False)  # names were compared above
        load_adapter_tensors(self.tokens, {name: tensors[name] for name in adapters})


def centre_of_mass(weights: Tensor) -> Tensor:
    """Return the centre of mass of each map in window coordinates.

    Args:
        weights: (B, N, h, w), not negative, sum above 0.

    Returns:
        (B, N, 2), component a along array axis a; the centre of cell i is (2 i + 1) / n - 1.
    """
    rows, columns = (
        (2 * torch.arange(n, dtype=weights.dtype, device=weights.device) + 1) / n - 1
        for n in weights.shape[2:]
    )
    total = weights.sum(dim=(2, 3))
    first = (weights.sum(dim=3) * rows).sum(dim=2) / total
    second = (weights.sum(dim=2) * columns).sum(dim=2) / total
    return torch.stack([first, second], dim=-1)


def grid_prior(count: int, side: int, width: float) -> Tensor:
    """Return log Gaussians around the nodes of a regular grid, (count, side, side).

    Args:
        count: of landmarks; the grid has the fewest rows that hold them.
        side: cells per side.
        width: standard deviation, share of the side of the window.
    """
    rows = math.ceil(math.sqrt(count))
    nodes = window_points(rows).reshape(-1, 2)
    chosen = nodes[torch.linspace(0, len(nodes) - 1, count).round().long()]
    squared = (window_points(side)[None] - chosen[:, None, None]).square().sum(dim=-1)
    return -squared / (2 * (2 * width) ** 2)


class _Upsample(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _decoder(channels: int, settings: Landmarks) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, width in enumerate(settings.decoder):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.GELU()]
        if number < settings.upsamplings:
            layers.append(_Upsample())
        channels = width
    layers.append(nn.Conv2d(channels, settings.count, 1))
    return nn.Sequential(*layers)
