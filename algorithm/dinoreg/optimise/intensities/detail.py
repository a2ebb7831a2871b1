"""A last optimisation at the resolution of the images: their intensities there, other features as before.

Features are kept on cells several voxels wide, and so is what was found with them. Where the intensities of
two images agree, they tell more than that; alone they follow noise, so that the others keep their say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.encoders.ensemble import scale_pair
from dinoreg.encoders.pair import BoxImages, PairFeatures
from dinoreg.facts import INLINE
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.blocks.room import RoomFacts, find_room
from dinoreg.optimise.blocks.terms import ssd_by_blocks
from dinoreg.optimise.data_term import DataTerm
from dinoreg.optimise.intensities.agreement import (
    AgreementFacts,
    compare_intensities,
    with_intensities_of_fixed,
)
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.runtime import free_memory
from dinoreg.settings.config import Config, Detail
from dinoreg.space.coords import per_axis
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, Part, warp_weight
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool
from dinoreg.space.separable import apply_along_axes, averaging_matrix
from dinoreg.stage import StageResult


@dataclass(frozen=True, slots=True)
class DetailFacts:
    """What the optimisation did; `iterations` is 0 where it was left out."""

    iterations: int
    losses: tuple[float, ...]
    agreement: AgreementFacts = field(metadata=INLINE)
    memory: RoomFacts | None = None


@dataclass(frozen=True, slots=True)
class DetailOptimisation:
    """Adam on one vector per cell of a lattice finer than that of the features.

    Attributes:
        settings: of the stage.
        lattice: of the features.
        fine: where the images are compared and the result is given.
        masked: whether cells without foreground do not count.
    """

    settings: Detail
    lattice: Lattice
    fine: Lattice
    masked: bool
    name: ClassVar[str] = "detail"
    safe: ClassVar[bool] = False

    @classmethod
    def planned(cls, config: Config, frame: Frame, features: Lattice) -> Self | None:
        """Return the stage on the voxels of a frame; None where the features lie on them already."""
        if config.detail is None or features == frame.voxels:
            return None
        return cls(config.detail, features, frame.voxels, masked=config.masked)

    def coarser(self, frame: Frame) -> Self | None:
        """Return the stage on cells twice as wide, up to those of the features; None where they are those."""
        # Each a divisor of that of the features, so that whole cells are averaged.
        stride = tuple(
            next(s for s in range(min(2 * f, c), c + 1) if c % s == 0)
            for f, c in zip(self.fine.stride, self.lattice.stride, strict=True)
        )
        return None if self.fine == self.lattice else replace(self, fine=frame.lattice(stride))

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Optimise where the intensities are trusted, else return the start; see `Stage`.

        Raises:
            torch.OutOfMemoryError: the fine lattice does not fit into memory.
        """
        settings, pair, images = self.settings, features.on(self.lattice), features.images
        assert images is not None
        agreement = compare_intensities(pair, start.vectors)
        if agreement.trust < settings.least_trust or self.fine == self.lattice:
            return StageResult(start, DetailFacts(0, (), agreement.facts))
        device = start.vectors.device
        room = find_room("ssd", 1, 1, self.fine, device, free_memory(device))
        begin = start.on(self.fine)
        seen = self._intensities(images)
        seen = with_intensities_of_fixed(seen, compare_intensities(seen, begin.vectors))
        terms: list[tuple[float, DataTerm]] = [(agreement.trust, self._term(seen, begin.vectors))]
        if len(pair.parts) > 1:
            others = pair.on(self.lattice, [float(part.encoder != "intensity") for part in pair.parts])
            steps = [c // f for c, f in zip(self.lattice.stride, self.fine.stride, strict=True)]
            coarse = self._term(others, start.vectors)
            terms.append((1.0, lambda u: coarse(averaged(u, steps))))
        total = sum(weight for weight, _ in terms)
        vectors, trace = refine_adam(
            SmoothedDense(begin.vectors, width=settings.smoothing_width, repeats=settings.smoothing_repeats),
            lambda u: sum((weight / total * term(u) for weight, term in terms), u.new_zeros(())),
            regularity_weight=settings.regularity_weight,
            spacing_mm=self.fine.spacing_mm,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
        )
        facts = DetailFacts(trace.iterations, trace.losses, agreement.facts, room)
        return StageResult(Deformation(vectors, self.fine), facts)

    def _intensities(self, images: BoxImages) -> FeaturePair:
        """Return the images themselves as features of one channel, scaled as those of every encoder are."""

        def on_fine(values: Tensor, number: int) -> Features:
            weight = torch.ones_like(values) if images.weight is None else images.weight[number]
            return Features(pool(values, self.fine.stride), pool(weight, self.fine.stride), self.fine)

        fixed, moving = scale_pair(on_fine(images.fixed, 0), on_fine(images.moving, 1))
        return FeaturePair(fixed, moving, (Part("intensity", 1, 1.0),))

    def _term(self, pair: FeaturePair, start: Tensor) -> DataTerm:
        weight = pair.fixed.weight * warp_weight(pair.moving, start) if self.masked else None
        return ssd_by_blocks(pair, pair.channels, weight=weight)


def averaged(displacement: Float[Tensor, "rank *s"], steps: Sequence[int]) -> Float[Tensor, "rank *t"]:
    """Return a displacement on cells so many times as wide, the mean over each, in those wider cells.

    Args:
        displacement: (rank, *S) cells.
        steps: fine cells per wide cell and axis.
    """
    sizes = displacement.shape[1:]
    # Not by pooling, whose gradient is not the same twice on a GPU.
    means = [
        averaging_matrix(-(-n // s), n, s, device=displacement.device)
        for n, s in zip(sizes, steps, strict=True)
    ]
    return apply_along_axes(displacement, means) / per_axis(steps, displacement)
