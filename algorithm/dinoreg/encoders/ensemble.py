"""Several encoders on one pair: their features, brought to the scale that all weights are stated for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dinoreg.encoders.evidence import Evidence
from dinoreg.encoders.pair import PairFeatures
from dinoreg.encoders.source import FeatureSource
from dinoreg.facts import INLINE
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.runtime import check_memory
from dinoreg.settings.config import FeatureSettings
from dinoreg.space.deformation import Deformation, mean_deformation
from dinoreg.space.features import FeaturePair, Features, Part, concatenate
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice

# Squared distance of the MIND-SSC features of two unrelated places, 12 channels in [0, 1], averaged over the
# development scans. Everything that is weighed against a feature distance (coupling, regularity) is stated
# for this scale; other encoders are brought to it.
REFERENCE_ENERGY = 2.0
_RELATIVE_ROUNDING = 1e-10
_TINY = torch.finfo(torch.float64).tiny
_CELLS_AT_A_TIME = 1 << 17


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What one encoder did.

    Attributes:
        name: of the encoder.
        channels: of its features.
        energy: squared distance of unrelated places before they were scaled; None where they are not.
        found: by the encoder itself.
    """

    name: str
    channels: int
    energy: float | None
    found: Any = field(default=None, metadata=INLINE)


@dataclass(frozen=True, slots=True)
class EncodingFacts:
    """What all encoders did."""

    encoders: tuple[EncoderFacts, ...]
    channels: int


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPair:
    """The features of a pair, and how they came about."""

    features: PairFeatures
    facts: EncodingFacts


def encode_pair(
    sources: Sequence[FeatureSource],
    settings: FeatureSettings,
    images: tuple[PreparedImage, PreparedImage],
    frame: Frame,
    lattice: Lattice,
    device: torch.device,
) -> EncodedPair:
    """Encode a pair by every encoder of a configuration.

    Args:
        sources: of the encoders that the settings name, in their order.
        settings: how they are put together.
        images: fixed and moving, (I, J, K) each.
        frame: of the pair.
        lattice: the finest, over the box of the frame.
        device: where the features are kept.

    Raises:
        ConfigError: images that an encoder does not take.
        NumericalError: features that are not finite.
        torch.OutOfMemoryError: the features do not fit into memory.
    """
    channels = sum(source.channels for source in sources)
    # Of both images, twice while they are scaled or joined, with their weights.
    needed = 2 * 4 * math.prod(lattice.shape) * (2 * channels + 2)
    check_memory(f"{channels} channels on {lattice.shape} cells", needed, device)
    total = sum(source.settings.weight for source in sources)
    blocks: list[FeaturePair] = []
    facts: list[EncoderFacts] = []
    evidence: list[Evidence] = []
    for source in sources:
        found = source.encode(images, frame, lattice)
        fixed, moving, energy = found.fixed, found.moving, None
        if settings.unit_scale:
            fixed, moving = scale_pair(found.fixed, found.moving)
            energy = measured_energy(found.fixed, fixed)
        if found.evidence is not None:
            evidence.append(found.evidence)
        channels = fixed.values.shape[0]
        name = source.settings.name
        blocks.append(FeaturePair(fixed, moving, (Part(name, channels, 1.0),)))
        facts.append(EncoderFacts(name, channels, energy, found.facts))
        del found, fixed, moving  # the unscaled features of one encoder end before the next begins
    shares = [source.settings.weight / total for source in sources]
    if settings.ensemble == "concatenate" and len(blocks) > 1:
        blocks, shares = [concatenate(blocks, shares)], [1.0]
    features = PairFeatures(tuple(blocks), tuple(shares), tuple(evidence))
    return EncodedPair(features, EncodingFacts(tuple(facts), sum(block.channels for block in blocks)))


def average_over_blocks(
    features: PairFeatures, register: Callable[[PairFeatures], Deformation]
) -> Deformation:
    """Register by each block alone, and average by their shares; a single block is simply registered."""
    return mean_deformation([register(alone) for alone in features.apart()], list(features.shares))


def scale_pair(fixed: Features, moving: Features) -> tuple[Features, Features]:
    """Scale both feature volumes by one factor so that unrelated places differ by `REFERENCE_ENERGY`.

    The expected squared distance of a random foreground cell of `fixed` and one of `moving` is the sum over
    the channels of both variances and the squared difference of the means. The later stages become
    independent of the magnitude of an encoder's features.
    """
    fixed_mean, fixed_variance = _moments(fixed)
    moving_mean, moving_variance = _moments(moving)
    energy = (fixed_variance + moving_variance + (fixed_mean - moving_mean).square()).sum()
    magnitude = fixed_mean.square().sum() + moving_mean.square().sum()
    if not float(energy) > _RELATIVE_ROUNDING * float(magnitude):  # constant features: nothing to scale
        return fixed, moving
    factor = (REFERENCE_ENERGY / energy).sqrt().to(fixed.values.dtype)
    return replace(fixed, values=fixed.values * factor), replace(moving, values=moving.values * factor)


def _moments(features: Features) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance per channel, float64 (C,); a slab of cells at a time."""
    rows = max(1, _CELLS_AT_A_TIME // math.prod(features.lattice.shape[1:]))
    slabs = [
        (values.flatten(1), weight.flatten().double())
        for values, weight in zip(
            torch.split(features.values, rows, dim=1), torch.split(features.weight, rows, dim=1), strict=True
        )
    ]
    total = torch.stack([weight.sum() for _, weight in slabs]).sum().clamp(min=_TINY)
    mean = torch.stack([values.double() @ weight for values, weight in slabs]).sum(dim=0) / total
    variance = torch.stack(
        [(values.double() - mean.unsqueeze(1)).square() @ weight for values, weight in slabs]
    ).sum(dim=0)
    return mean, variance / total


def measured_energy(raw: Features, scaled: Features) -> float:
    """Return the squared distance of unrelated places before the scaling; 0 where nothing can be compared."""
    norm = float(scaled.values.norm())
    return REFERENCE_ENERGY * (float(raw.values.norm()) / norm) ** 2 if norm > 0 else 0.0
