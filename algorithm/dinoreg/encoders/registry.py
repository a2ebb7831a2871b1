"""From settings to an encoder, and from an encoder to a source of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from dinoreg.encoders import base
from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.dino3d.encoder import Dino3dEncoder
from dinoreg.encoders.dino3d.source import VolumeSource
from dinoreg.encoders.dino3d.weights import read_dino3d
from dinoreg.encoders.intensity import IntensityEncoder
from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.pooled import PooledSource
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.encoders.slices.source import SliceSource
from dinoreg.encoders.source import FeatureSource
from dinoreg.settings.encoders import Dino3d, Dinov2, Dinov3, Encoder, Intensity, Mind, Sam
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


@dataclass(frozen=True, slots=True)
class Kind:
    """How encoders of one kind of settings are loaded, and how features come from them.

    Attributes:
        load: (settings, device) -> the loaded encoder.
        source: (settings, loaded encoder, cache, device) -> the source of features.
    """

    load: Callable[[Any, torch.device], LoadedEncoder]
    source: Callable[[Any, LoadedEncoder, FeatureCache, torch.device], FeatureSource]


def load_encoder(settings: Encoder, device: torch.device) -> LoadedEncoder:
    """Return the encoder that the settings name, its weights found, checked and loaded.

    Raises:
        WeightsError: weights absent, of another digest, or not fitting.
    """
    return KINDS[type(settings)].load(settings, device)


def make_source(
    settings: Encoder, loaded: LoadedEncoder, cache: FeatureCache, device: torch.device
) -> FeatureSource:
    """Return the source of features by a loaded encoder.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    return KINDS[type(settings)].source(settings, loaded, cache, device)


def build_mind(settings: Mind, *, rank: int = 3) -> MindSsc:
    """Return MIND-SSC for images of a rank."""
    return MindSsc(radius=settings.radius, dilation=settings.dilation, rank=rank)


def _mind_source(
    settings: Mind, loaded: LoadedEncoder, cache: FeatureCache, device: torch.device
) -> FeatureSource:
    assert isinstance(loaded.encoder, base.Encoder)
    make = lambda rank: build_mind(settings, rank=rank)  # noqa: E731
    return PooledSource(settings, loaded.encoder, cache, device, for_rank=make)


def _intensity_source(
    settings: Intensity, loaded: LoadedEncoder, cache: FeatureCache, device: torch.device
) -> FeatureSource:
    assert isinstance(loaded.encoder, base.Encoder)
    return PooledSource(settings, loaded.encoder, cache, device, can_guide=False)


def _slice_source(
    settings: Dinov2 | Dinov3 | Sam, loaded: LoadedEncoder, cache: FeatureCache, device: torch.device
) -> FeatureSource:
    assert isinstance(loaded.encoder, SliceEncoder)
    return SliceSource(settings, loaded.encoder, loaded.weights, cache, device)


def _volume_source(
    settings: Dino3d, loaded: LoadedEncoder, cache: FeatureCache, device: torch.device
) -> FeatureSource:
    assert isinstance(loaded.encoder, Dino3dEncoder)
    return VolumeSource(settings, loaded.encoder, loaded.weights, cache, device)


def _load_mind(settings: Mind, device: torch.device) -> LoadedEncoder:
    return LoadedEncoder(build_mind(settings))


def _load_intensity(settings: Intensity, device: torch.device) -> LoadedEncoder:
    return LoadedEncoder(IntensityEncoder())


def _load_dino3d(settings: Dino3d, device: torch.device) -> LoadedEncoder:
    named = in_search_folders(Path(settings.weights)) if settings.weights else None
    weights = find_weights(settings.name, named, sha256=settings.sha256 or None)
    network, described = read_dino3d(weights.path)
    return LoadedEncoder(Dino3dEncoder(network.to(device), float(described["spacing_mm"])), weights)


def _load_dinov2(settings: Dinov2, device: torch.device) -> LoadedEncoder:
    from dinoreg.encoders.vit.dinov2 import load_dinov2  # transformers is slow to import

    named = Path(settings.weights) if settings.weights else None
    weights = find_weights(settings.variant, named, sha256=settings.sha256 or None)
    encoder = load_dinov2(settings.variant, weights.path, normalisation=settings.normalisation, device=device)
    return LoadedEncoder(encoder, weights)


def _load_dinov3(settings: Dinov3, device: torch.device) -> LoadedEncoder:
    from dinoreg.encoders.vit.dinov3 import load_dinov3

    weights = own_weights(in_search_folders(Path(settings.weights)), sha256=settings.sha256 or None)
    encoder = load_dinov3(weights.path, normalisation=settings.normalisation, device=device)
    return LoadedEncoder(encoder, weights)


def _load_sam(settings: Sam, device: torch.device) -> LoadedEncoder:
    from dinoreg.encoders.vit.sam import load_sam

    weights = own_weights(in_search_folders(Path(settings.weights)), sha256=settings.sha256 or None)
    return LoadedEncoder(load_sam(weights.path, intensities=settings.intensities, device=device), weights)


# An encoder is added here and in `settings.encoders`, and nowhere else.
KINDS: Mapping[type, Kind] = MappingProxyType(
    {
        Mind: Kind(_load_mind, _mind_source),
        Intensity: Kind(_load_intensity, _intensity_source),
        Dinov2: Kind(_load_dinov2, _slice_source),
        Dinov3: Kind(_load_dinov3, _slice_source),
        Sam: Kind(_load_sam, _slice_source),
        Dino3d: Kind(_load_dino3d, _volume_source),
    }
)
