"""Weigh the intensities of a pair by how far they can be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from dinoreg.optimise.agreement import measure_agreement
from dinoreg.space.features import FeaturePair, warp_features


@dataclass(frozen=True, slots=True)
class AgreementFacts:
    """How the intensities of moving relate to those of fixed; see `optimise.agreement.Agreement`."""

    intensities_explained: float
    intensities_correlation: float
    intensity_trust: float


def weigh_intensities(pair: FeaturePair, displacement: Tensor) -> tuple[FeaturePair, AgreementFacts]:
    """Give the channel of intensities the weight that the images show it to deserve.

    Args:
        pair: concatenated features on a lattice, of which one channel is `intensity`.
        displacement: (rank, *S) cells, of the stages so far.
    """
    number = next(n for n, part in enumerate(pair.parts) if part.encoder == "intensity")
    channel = sum(part.channels for part in pair.parts[:number])
    fixed, moving = pair.fixed.values[channel], pair.moving.values[channel]
    only = replace(pair.moving, values=pair.moving.values[channel : channel + 1])
    warped = warp_features(only, displacement)
    found = measure_agreement(fixed, warped.values[0], (pair.fixed.weight * warped.weight)[0])
    facts = AgreementFacts(round(found.explained, 4), round(found.correlation, 4), round(found.trust, 4))
    weights = [found.trust if n == number else 1.0 for n in range(len(pair.parts))]
    if found.trust == 0:
        return pair.on(pair.fixed.lattice, weights), facts
    values = pair.moving.values.clone()
    values[channel] = found.map(moving)
    mapped = replace(pair, moving=replace(pair.moving, values=values))
    return mapped.on(pair.fixed.lattice, weights), facts
