"""From settings to an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from dinoreg.encoders import base
from dinoreg.encoders.dino3d.encoder import Dino3dEncoder
from dinoreg.encoders.dino3d.weights import read_dino3d
from dinoreg.encoders.intensity import IntensityEncoder
from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.settings.config import Dino3d, Dinov2, Encoder, Intensity, Mind, Sam
from dinoreg.weights.search import WeightsFile, find_weights, in_search_folders, own_weights


@dataclass(frozen=True, slots=True, eq=False)
class LoadedEncoder:
    """An encoder on its device, and where its weights come from.

    Attributes:
        encoder: of volumes, or of slices.
        weights: None for an encoder without weights.
    """

    encoder: base.Encoder | SliceEncoder | Dino3dEncoder
    weights: WeightsFile | None = None


# How a run gets its encoders; a caller may put another one in the place of `load_encoder`.
Load = Callable[[Encoder, torch.device], LoadedEncoder]


def build_encoder(settings: Mind, *, rank: int = 3) -> base.Encoder:
    """Return the volume encoder that the settings name, for images of `rank`."""
    return MindSsc(radius=settings.radius, dilation=settings.dilation, rank=rank)


def load_encoder(settings: Encoder, device: torch.device) -> LoadedEncoder:
    """Return the encoder that the settings name, its weights found, checked and loaded.

    Raises:
        WeightsError: weights absent, of another digest, or not fitting.
    """
    if isinstance(settings, Mind):
        return LoadedEncoder(build_encoder(settings))
    if isinstance(settings, Intensity):
        return LoadedEncoder(IntensityEncoder())
    sha256 = settings.sha256 or None
    if isinstance(settings, Dino3d):
        named = in_search_folders(Path(settings.weights)) if settings.weights else None
        weights = find_weights(settings.name, named, sha256=sha256)
        network, described = read_dino3d(weights.path)
        return LoadedEncoder(Dino3dEncoder(network.to(device), float(described["spacing_mm"])), weights)
    if isinstance(settings, Dinov2):
        from dinoreg.encoders.vit.dinov2 import load_dinov2  # transformers is slow to import

        weights = find_weights(
            settings.variant, Path(settings.weights) if settings.weights else None, sha256=sha256
        )
        encoder: SliceEncoder = load_dinov2(
            settings.variant, weights.path, normalisation=settings.normalisation, device=device
        )
    elif isinstance(settings, Sam):
        from dinoreg.encoders.vit.sam import load_sam

        weights = own_weights(in_search_folders(Path(settings.weights)), sha256=sha256)
        encoder = load_sam(weights.path, intensities=settings.intensities, device=device)
    else:
        from dinoreg.encoders.vit.dinov3 import load_dinov3

        weights = own_weights(Path(settings.weights), sha256=sha256)
        encoder = load_dinov3(weights.path, normalisation=settings.normalisation, device=device)
    return LoadedEncoder(encoder, weights)
