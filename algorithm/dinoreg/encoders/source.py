"""The one contract by which a registration gets features, whatever they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from dinoreg.encoders.evidence import Evidence
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.encoders import Encoder as EncoderSettings
from dinoreg.space.features import Features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.weights.search import WeightsFile

# (1, *S) image -> (C, *T) features over the same extent, differentiable; T is not always S.
Guide = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A pair as an encoder sees it.

    Attributes:
        fixed: on the lattice that was asked for.
        moving: on the same lattice.
        facts: a frozen dataclass of what the encoder found, for the report; None where there is nothing.
        evidence: of an encoder with a PCA.
    """

    fixed: Features
    moving: Features
    facts: Any = None
    evidence: Evidence | None = None


class FeatureSource(Protocol):
    """An encoder with its settings, ready for any pair; it remembers the images that come again."""

    @property
    def settings(self) -> EncoderSettings:
        """What it was made from."""

    @property
    def channels(self) -> int:
        """Of its features, at most."""

    @property
    def weights(self) -> WeightsFile | None:
        """Where its weights come from; None for an encoder without weights."""

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every file that its settings name, by key; part of the configuration's hash."""

    def encode(self, images: tuple[PreparedImage, PreparedImage], frame: Frame, lattice: Lattice) -> Encoded:
        """Encode a pair.

        Args:
            images: fixed and moving, (I, J, K) each.
            frame: of the pair.
            lattice: over the box of the frame.

        Raises:
            ConfigError: images that the encoder does not take.
            NumericalError: features that are not finite.
            torch.OutOfMemoryError: not even the smallest pieces fit.
        """

    def guide(self, rank: int, grid: int) -> Guide:
        """Return the encoder as a differentiable function of images.

        Args:
            rank: of the images.
            grid: patches along the longer side of a slice, for encoders that see patches.

        Raises:
            ConfigError: this encoder cannot guide, or not images of this rank.
        """
