"""The prepared intensities themselves, as one channel: the plainest features there are."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dinoreg.encoders.base import Encoder


class IntensityEncoder(Encoder):
    """The identity: squared distances of its features are squared differences of intensities."""

    rank = 3
    channels = 1
    margin = 0

    def forward(self, image: Float[Tensor, "1 *s"], context: Tensor | None = None) -> Float[Tensor, "1 *s"]:
        """(1, *S) as it is."""
        return image
