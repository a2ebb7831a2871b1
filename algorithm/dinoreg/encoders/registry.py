"""From settings to an encoder."""

from __future__ import annotations

from dinoreg.encoders.base import Encoder
from dinoreg.encoders.mind import MindSsc
from dinoreg.pipeline.config import Mind


def build_encoder(settings: Mind, *, rank: int = 3) -> Encoder:
    """Return the encoder that the settings name, for images of `rank`."""
    return MindSsc(radius=settings.radius, dilation=settings.dilation, rank=rank)
