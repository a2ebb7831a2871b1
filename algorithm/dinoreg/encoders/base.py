"""What every encoder offers: a differentiable map from an image to features on the image's lattice."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """An image encoder; no-grad tiling, pooling and caching are wrapped around it (`encoders.pooled`).

    Attributes:
        rank: rank of the images it takes, 2 or 3.
        channels: number of feature channels.
        margin: how many voxels of its surroundings a feature depends on, per side.
    """

    rank: int
    channels: int
    margin: int

    def context_map(self, image: Tensor) -> Tensor | None:
        """Return a (1, *S) map whose mean over the whole image `forward` needs, or None.

        Lets an image be encoded in tiles although the encoder normalises by something global.
        """
        return None

    @abstractmethod
    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Encode an image.

        Args:
            image: (1, *S), `rank` spatial axes.
            context: the mean of `context_map` over the whole image; by default over `image` itself.

        Returns:
            (channels, *S) features.
        """
