"""Try several translations, let the discrete stage deform each, and keep the one that ends best.

A rigid shift alone compares badly between people or with partial fields of view: the best whole-volume
translation of MIND features misses the truth by up to 10 cm on the abdominal development pairs, while the
residual after a small discrete registration has its minimum there (docs/pipeline.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.optimise.discrete import search_convex
from dinoreg.settings.config import HypothesesStart
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features, warp_features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult
from dinoreg.start.translate import in_mm, translated


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A translation and how well the images agree after the discrete stage from there.

    Attributes:
        translation: cells, fixed to moving, per axis.
        distance: mean squared feature distance over the common foreground after the stage.
        overlap: common foreground as a share of the smaller one.
    """

    translation: tuple[float, ...]
    distance: float
    overlap: float


@dataclass(frozen=True, slots=True)
class HypothesisFacts:
    """One hypothesis in millimetres."""

    translation_mm: tuple[float, ...]
    distance: float
    overlap: float


@dataclass(frozen=True, slots=True)
class HypothesesFacts:
    """All that were tried, and the one that was taken."""

    hypotheses: tuple[HypothesisFacts, ...]
    translation_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HypothesesStage:
    """Several translations through the discrete stage; the best is kept.

    Attributes:
        settings: in millimetres.
        lattice: of the stage.
        reach: cells per axis, both ways.
        step: cells per axis between neighbours.
        radius: cells per axis, of the discrete stage.
    """

    settings: HypothesesStart
    lattice: Lattice
    reach: tuple[int, ...]
    step: tuple[int, ...]
    radius: tuple[int, ...]
    name: ClassVar[str] = "start: hypotheses"
    safe: ClassVar[bool] = True

    @classmethod
    def planned(cls, settings: HypothesesStart, lattice: Lattice, length_scale: float) -> Self:
        """Turn millimetres into cells of the lattice."""
        axes = range(len(lattice.shape))
        single = [n == 1 for n in lattice.shape]
        reach = tuple(
            0 if single[a] else math.floor(settings.range_mm[a] * length_scale / lattice.spacing_mm[a] + 1e-6)
            for a in axes
        )
        step = tuple(max(1, round(settings.step_mm * length_scale / lattice.spacing_mm[a])) for a in axes)
        radius = tuple(
            0 if single[a] else max(1, round(settings.radius_mm[a] * length_scale / lattice.spacing_mm[a]))
            for a in axes
        )
        return cls(settings, lattice, reach, step, radius)

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Translate; see `Stage`."""
        seen = features.on(self.lattice, self.settings.weights)
        candidates = candidate_translations(self.reach, self.step)
        judged = judge_translations(seen.fixed, seen.moving, candidates, self.radius, base=start.vectors)
        best = choose(judged, min_overlap=self.settings.min_overlap)
        facts = HypothesesFacts(
            tuple(HypothesisFacts(in_mm(h.translation, self.lattice), h.distance, h.overlap) for h in judged),
            in_mm(best.translation, self.lattice),
        )
        return StageResult(translated(start, best.translation), facts)


def candidate_translations(range_cells: Sequence[int], step_cells: Sequence[int]) -> list[tuple[float, ...]]:
    """Return all translations on a box of +- range per axis, whole cells, zero included."""
    axes = [range(-(r // s) * s, r + 1, s) for r, s in zip(range_cells, step_cells, strict=True)]
    return [tuple(float(value) for value in candidate) for candidate in itertools.product(*axes)]


def judge_translations(
    fixed: Features,
    moving: Features,
    translations: Sequence[Sequence[float]],
    radius: Sequence[int],
    *,
    base: Tensor,
) -> list[Hypothesis]:
    """Deform from each translation on top of `base` and measure what is left.

    Args:
        fixed: features on a coarse lattice.
        moving: on the same lattice.
        translations: (rank,) cells each.
        radius: of the discrete stage, cells.
        base: (rank, *S) cells, the start so far.
    """
    judged = []
    smaller = min(float((fixed.weight > 0.5).sum()), float((moving.weight > 0.5).sum()))
    for translation in translations:
        shift = torch.tensor(translation, dtype=base.dtype, device=base.device)
        start = base + shift.view(-1, *([1] * len(shift)))
        warped = warp_features(moving, search_convex(fixed, moving, start, radius, consistency_iterations=0))
        common = (warped.weight > 0.5) & (fixed.weight > 0.5)
        squared = (warped.values - fixed.values).square().sum(dim=0, keepdim=True)
        count = float(common.sum())
        distance = float((squared * common).sum()) / max(count, 1.0)
        judged.append(Hypothesis(tuple(translation), distance, count / max(smaller, 1.0)))
    return judged


def choose(hypotheses: Sequence[Hypothesis], *, min_overlap: float) -> Hypothesis:
    """Return the hypothesis with the smallest distance among those with enough overlap.

    Where none has, the one with the largest overlap.
    """
    enough = [h for h in hypotheses if h.overlap >= min_overlap]
    return min(enough, key=lambda h: h.distance) if enough else max(hypotheses, key=lambda h: h.overlap)
