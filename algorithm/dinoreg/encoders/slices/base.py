"""What every 2D token encoder offers: patch tokens and one cls token per slice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class SliceTokens:
    """Tokens of a batch of slices.

    Attributes:
        patches: (B, channels, h, w), one token per patch, in the slices' own axis order; no register token.
        cls: (B, channels), one token per slice.
    """

    patches: Tensor
    cls: Tensor


class SliceEncoder(nn.Module, ABC):
    """A 2D encoder with patches, differentiable; batching, storage and interpolation are wrapped around it.

    Attributes:
        patch_size: pixels per patch side.
        channels: of a token.
        square_matrices: matrices of all patches against all that exist at a time, 0 where the attention is
            fused; for the estimate of memory.
    """

    patch_size: int
    channels: int
    square_matrices: int = 0

    @property
    def width(self) -> int:
        """Channels inside the encoder, for the estimate of memory."""
        return self.channels

    @abstractmethod
    def forward(self, slices: Tensor) -> SliceTokens:
        """Encode slices.

        Args:
            slices: (B, 1, H, W) intensities in [0, 1]; H and W multiples of `patch_size`, not necessarily
                equal. Replication to three channels and the checkpoint's own normalisation happen inside.
        """
