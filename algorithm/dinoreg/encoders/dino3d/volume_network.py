"""What the networks of `dino3d` have in common: volumes to unit vectors, one per cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class VolumeNetwork(nn.Module, ABC):
    """From volumes of isotropic voxels, RAS, in [0, 1], to features on a coarser lattice.

    Attributes:
        channels: of the features.
        stride: voxels per feature, along every axis.
        largest: voxels per axis that it should see at a time at most; None: any number.
        context_channels: of the coarsest level, which stands for the whole volume.
        head: from the finest level to the features.
    """

    channels: int
    stride: int
    largest: int | None
    context_channels: int
    head: nn.Module

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Sizes of the input must be multiples of it, voxels."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Voxels of its surroundings that a tile should see besides its own, per side."""

    @abstractmethod
    def levels(self, image: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Return the features of every level, the finest first; the first is for the head.

        Args:
            image: (B, 1, I, J, K) in [0, 1], sizes multiples of `multiple`.
            hidden: (B, 1, I/s, J/s, K/s) bool with the stride s, cells whose content is not seen.
        """

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """Return what a file of weights says of the network, as JSON values."""

    def forward(self, image: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Return a unit vector per cell.

        Args:
            image: as for `levels`.
            hidden: as for `levels`.

        Returns:
            (B, channels, I/s, J/s, K/s) float32.
        """
        return F.normalize(self.head(self.levels(image, hidden)[0]).float(), dim=1)
