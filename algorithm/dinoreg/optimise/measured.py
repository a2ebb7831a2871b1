"""Weigh the intensities of a pair by how far they can be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from dinoreg.optimise.agreement import measure_agreement
from dinoreg.optimise.discrete import warp_features
from dinoreg.pipeline.encode import Block
from dinoreg.settings.config import Config, Intensity


def weigh_intensities(block: Block, displacement: Tensor, config: Config, details: dict[str, Any]) -> Block:
    """Give the channel of intensities the weight that the images show it to deserve.

    Args:
        block: concatenated features on a lattice, of which one channel is `intensity`.
        displacement: (rank, *S) cells, of the stages so far.
        config: says which encoder it is.
        details: filled with what was measured.
    """
    number = next(n for n, e in enumerate(config.features.encoders) if isinstance(e, Intensity))
    channel = sum(count for count, _ in block.parts[:number])
    fixed, moving = block.fixed.values[channel], block.moving.values[channel]
    only = replace(block.moving, values=block.moving.values[channel : channel + 1])
    warped = warp_features(only, displacement)
    found = measure_agreement(fixed, warped.values[0], (block.fixed.weight * warped.weight)[0])
    details |= {
        "intensities_explained": round(found.explained, 4),
        "intensities_correlation": round(found.correlation, 4),
        "intensity_trust": round(found.trust, 4),
    }
    weights = [found.trust if n == number else 1.0 for n in range(len(block.parts))]
    if found.trust == 0:
        return block.on(block.fixed.lattice, weights)
    values = block.moving.values.clone()
    values[channel] = found.map(moving)
    mapped = replace(block, moving=replace(block.moving, values=values))
    return mapped.on(block.fixed.lattice, weights)
