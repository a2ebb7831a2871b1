"""The network of `dino3d`: a small 3D U-Net that gives every voxel of half resolution a unit vector.

It reads the intensities and, beside them, their MIND descriptors, which look alike in all contrasts from the
start: what is left to learn is the anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinoreg.encoders.dino3d.volume_network import VolumeNetwork
from dinoreg.encoders.mind import MindSsc

STRIDE = 2  # voxels per feature, along every axis
_EPSILON = 1e-5
_FINE_SHARE = 0.25


class ImageNorm(nn.Module):
    """Every channel of every image to mean 0 and deviation 1, then a learned scale and offset.

    Instance normalisation (Ulyanov et al. 2016): most of a contrast is a scale and an offset of each channel.
    """

    def __init__(self, channels: int, scale: float = 1.0) -> None:
        """Start with one scale for all channels."""
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), scale))
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, I, J, K)."""
        shape = (1, -1, 1, 1, 1)
        variance, mean = torch.var_mean(features.float(), dim=(2, 3, 4), correction=0, keepdim=True)
        factor = (variance + _EPSILON).rsqrt() * self.scale.view(shape)
        return (features * factor + (self.offset.view(shape) - mean * factor)).to(features.dtype)


class Block(nn.Module):
    """Two convolutions around a non-linearity, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        """Build a block that begins as the identity."""
        super().__init__()
        self.norm = ImageNorm(channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, I, J, K) to the same shape."""
        out: Tensor = features + self.second(F.silu(self.first(self.norm(features))))
        return out


class Dino3dNetwork(VolumeNetwork):
    """U-Net over cells of 2, 4, 8, ... voxels.

    Attributes:
        widths: channels per level, the finest first.
        depths: blocks per level on the way down; on the way up it is one.
        channels: of the result.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], channels: int) -> None:
        """Build a network of random weights."""
        super().__init__()
        if len(widths) != len(depths):
            raise ValueError(f"expected as many depths as widths, got {len(depths)} and {len(widths)}")
        self.widths, self.depths, self.channels = tuple(widths), tuple(depths), channels
        self.stride, self.largest, self.context_channels = STRIDE, None, widths[-1]
        self.mind = MindSsc(radius=1, dilation=2)
        self.stem = nn.Conv3d(STRIDE**3 + self.mind.channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(Block(c) for _ in range(n))) for c, n in zip(widths, depths, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        # Both sides of a sum are normed: coarse features grow with depth and would drown the fine ones, which
        # begin weaker, as what is coarse is learned first.
        self.up = nn.ModuleList(
            nn.Sequential(ImageNorm(coarse), nn.Conv3d(coarse, fine, 1)) for fine, coarse in pairwise(widths)
        )
        self.lateral = nn.ModuleList(ImageNorm(width, scale=_FINE_SHARE) for width in widths[:-1])
        self.decoder = nn.ModuleList(Block(c) for c in widths[:-1])
        self.norm = ImageNorm(widths[0])
        self.head = nn.Conv3d(widths[0], channels, 1)
        # In place of what a masked cell shows, in training (Zhou et al. 2022, iBOT).
        self.mask_token = nn.Parameter(torch.zeros(widths[0]))

    @property
    def multiple(self) -> int:
        """Sizes of the input must be multiples of it, voxels."""
        return int(STRIDE * 2 ** (len(self.widths) - 1))

    @property
    def reach(self) -> int:
        """Voxels of its surroundings that the convolutions bring to a feature at most, per side."""
        reach, cell = 2 * STRIDE + self.mind.margin, STRIDE
        for level, depth in enumerate(self.depths):
            up = 2 if level < len(self.depths) - 1 else 0
            # The way down to a cell adds one of it, the interpolation on the way up another one.
            reach += (2 * depth + up + (2 if level else 0)) * cell
            cell *= 2
        return reach

    def described(self) -> dict[str, Any]:
        """Return its sizes."""
        return {"widths": self.widths, "depths": self.depths, "channels": self.channels}

    def levels(self, image: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Return the features of every level on the way up, the finest first; the first is for the head.

        Args:
            image: (B, 1, I, J, K) in [0, 1], sizes multiples of `multiple`.
            hidden: (B, 1, I/2, J/2, K/2) bool, cells whose content the network does not see.

        Returns:
            (B, widths[n], I/s, J/s, K/s) with s = 2^(n + 1) for level n.
        """
        if hidden is not None:  # descriptors of what is beside a hidden cell must not show it either
            image = torch.where(_voxels(hidden), 0.0, image)
        features = self.stem(self._input(image))
        if hidden is not None:
            features = torch.where(hidden, self.mask_token.to(features.dtype).view(1, -1, 1, 1, 1), features)
        skipped = []
        for level, blocks in enumerate(self.encoder):
            features = blocks(features)
            if level < len(self.down):
                skipped.append(features)
                features = self.down[level](features)
        found = [features]
        for level in reversed(range(len(self.down))):
            raised = F.interpolate(
                self.up[level](features), scale_factor=2, mode="trilinear", align_corners=False
            )
            features = self.decoder[level](self.lateral[level](skipped[level]) + raised)
            found.insert(0, features)
        return [self.norm(features), *found[1:]]

    @torch.no_grad()
    def _input(self, image: Tensor) -> Tensor:
        """Intensities of the voxels of a cell, and the mean of their descriptors."""
        described = torch.stack([F.avg_pool3d(self.mind(one.float()), STRIDE) for one in image])
        return torch.cat([_cells(image), described.to(image.dtype)], dim=1).contiguous(
            memory_format=torch.channels_last_3d
        )


def _voxels(cells: Tensor) -> Tensor:
    """Repeat (B, 1, I/2, J/2, K/2) for every voxel of a cell."""
    for axis in (2, 3, 4):
        cells = cells.repeat_interleave(STRIDE, dim=axis)
    return cells


def _cells(image: Tensor) -> Tensor:
    """Put the voxels of a cell into channels: (B, 1, I, J, K) to (B, 8, I/2, J/2, K/2), channels last."""
    batch, _, i, j, k = image.shape
    split = image.reshape(batch, i // STRIDE, STRIDE, j // STRIDE, STRIDE, k // STRIDE, STRIDE)
    channels = split.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, i // STRIDE, j // STRIDE, k // STRIDE, -1)
    return channels.permute(0, 4, 1, 2, 3)
