"""Features on a lattice, with the weight that says where there is content; those of a pair; warping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.coords import identity_positions, per_axis
from dinoreg.space.lattice import Lattice, pool
from dinoreg.space.sampling import channels_last, sample_linear


@dataclass(frozen=True, slots=True)
class Features:
    """Features on a lattice.

    Attributes:
        values: (C, *lattice.shape) float32.
        weight: (1, *lattice.shape) in [0, 1], the share of each cell that is foreground.
        lattice: where they are.
    """

    values: Float[Tensor, "c *s"]
    weight: Float[Tensor, "1 *s"]
    lattice: Lattice

    @property
    def nbytes(self) -> int:
        """Memory that they hold."""
        return sum(t.numel() * t.element_size() for t in (self.values, self.weight))

    def on(self, lattice: Lattice) -> Features:
        """Average to a coarser lattice whose strides are multiples of this one's."""
        factors = []
        for coarse, fine in zip(lattice.stride, self.lattice.stride, strict=True):
            if coarse % fine:
                raise ValueError(f"stride {lattice.stride} is no multiple of {self.lattice.stride}")
            factors.append(coarse // fine)
        return Features(pool(self.values, factors), pool(self.weight, factors), lattice)

    def block(self, bounds: Sequence[tuple[int, int]]) -> Features:
        """Cut out a block of the image, given by voxels that lie on cell borders (or on the image's edge)."""
        shape = tuple(stop - start for start, stop in bounds)
        lattice = replace(self.lattice, image_shape=shape)
        window = tuple(
            slice(start // s, start // s + n)
            for (start, _), s, n in zip(bounds, lattice.stride, lattice.shape, strict=True)
        )
        # A copy of its own, unless the block is everything: the whole can be freed then.
        values, weight = (channels_last(t[(slice(None), *window)]) for t in (self.values, self.weight))
        return Features(values, weight, lattice)


def warp_features(features: Features, displacement: Float[Tensor, "rank *s"]) -> Features:
    """Read features at x + u(x); the weight is 0 where that lies outside the lattice.

    Args:
        features: to be read.
        displacement: (rank, *features.lattice.shape) cells.
    """
    positions = identity_positions(features.lattice.shape, device=displacement.device) + displacement
    return replace(
        features,
        values=sample_linear(features.values, positions),
        weight=warp_weight(features, displacement),
    )


def warp_weight(features: Features, displacement: Float[Tensor, "rank *s"]) -> Float[Tensor, "1 *s"]:
    """Return the weight of `warp_features` alone, (1, *S)."""
    positions = identity_positions(features.lattice.shape, device=displacement.device) + displacement
    upper = per_axis(features.lattice.shape, displacement) - 0.5
    inside = ((positions >= -0.5) & (positions <= upper)).all(dim=0, keepdim=True)
    return sample_linear(features.weight, positions) * inside


@dataclass(frozen=True, slots=True)
class Part:
    """The channels of one encoder among those of several.

    Attributes:
        encoder: its name.
        channels: how many.
        share: of a squared distance of unrelated places that they make up.
    """

    encoder: str
    channels: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class FeaturePair:
    """Features of fixed and moving that are compared channel by channel.

    Attributes:
        fixed: on a lattice.
        moving: on the same lattice.
        parts: what the channels are of, in order; the shares sum to 1.
    """

    fixed: Features
    moving: Features
    parts: tuple[Part, ...]

    @property
    def channels(self) -> int:
        """Number of all channels."""
        return sum(part.channels for part in self.parts)

    def on(self, lattice: Lattice, weights: Sequence[float] = ()) -> FeaturePair:
        """Average to a coarser lattice, and weigh the encoders anew.

        Args:
            lattice: its strides are multiples of the present ones.
            weights: of each encoder, of which those with 0 are left out; none: as they are.
        """
        fixed, moving = self.fixed.on(lattice), self.moving.on(lattice)
        if not weights:
            return FeaturePair(fixed, moving, self.parts)
        shares = [weight / sum(weights) for weight in weights]
        counts = [part.channels for part in self.parts]
        factors = [math.sqrt(new / part.share) for new, part in zip(shares, self.parts, strict=True)]

        def weigh(features: Features) -> Features:
            groups = zip(torch.split(features.values, counts), factors, strict=True)
            return replace(features, values=torch.cat([group * factor for group, factor in groups if factor]))

        parts = tuple(replace(part, share=s) for part, s in zip(self.parts, shares, strict=True) if s)
        return FeaturePair(weigh(fixed), weigh(moving), parts)


def concatenate(pairs: Sequence[FeaturePair], shares: Sequence[float]) -> FeaturePair:
    """Join the channels of pairs so that each takes its share of a squared distance.

    Values are multiplied by the square root of the share: the expected squared distance of unrelated places,
    the same for every pair, stays what it is.
    """

    def join(features: Sequence[Features]) -> Features:
        values = [f.values * math.sqrt(share) for f, share in zip(features, shares, strict=True)]
        return replace(features[0], values=torch.cat(values))

    parts = tuple(
        replace(part, share=part.share * share)
        for pair, share in zip(pairs, shares, strict=True)
        for part in pair.parts
    )
    return FeaturePair(join([pair.fixed for pair in pairs]), join([pair.moving for pair in pairs]), parts)
