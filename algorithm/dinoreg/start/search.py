"""Search the translation between two bodies in all three directions, from coarse to fine.

A rigid shift alone compares badly between people, so every candidate is judged by what a small deformable
registration leaves (`start.hypotheses`). That is done for many candidates on a coarse lattice, where it costs
little; from the best of them, and from no translation, a climb on a finer one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.settings.config import SearchStart
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool
from dinoreg.space.orientation import ras_axes
from dinoreg.stage import StageResult
from dinoreg.start.hypotheses import Hypothesis, candidate_translations, judge_translations
from dinoreg.start.translate import in_mm, translated

# Cells of the two lattices over the whole image, about 24 and 12 mm for a body of 380 x 320 x 380 mm.
_COARSE_CELLS, _FINE_CELLS = 3_000, 24_000
_COARSE_RADIUS, _FINE_RADIUS = 1, 3
_STEP = 2.0  # cells of the finer lattice between neighbours
# A candidate whose distance on the coarse lattice is larger than the best one's by this share is not looked
# at again: where the images already agree, that is nearly all of them.
_HOPELESS = 0.25


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        translation: cells of the lattice of the features, fixed to moving.
        tried: candidates on the coarse lattice.
        finalists: judged on the finer one, best first; translations in its cells.
        identity: the one without a translation.
        margin: by how much the best is better than the best that lies elsewhere, as a share of its distance;
            1 where nothing else was worth a look on the finer lattice.
    """

    translation: tuple[float, ...]
    tried: int
    finalists: tuple[Hypothesis, ...]
    identity: Hypothesis
    margin: float


@dataclass(frozen=True, slots=True)
class SearchFacts:
    """How a search went.

    Attributes:
        candidates: judged on the coarse lattice.
        distance: of the best on the finer one.
        identity_distance: without a translation.
        margin: as in `SearchResult`.
        translation_mm: along the array axes.
    """

    candidates: int
    distance: float
    identity_distance: float
    margin: float
    translation_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SearchStage:
    """Translations in all three directions.

    Attributes:
        settings: ranges along the body.
        lattice: of the features.
        range_mm: the same ranges along the array axes.
    """

    settings: SearchStart
    lattice: Lattice
    range_mm: tuple[float, ...]
    name: ClassVar[str] = "start: search"
    safe: ClassVar[bool] = True

    @classmethod
    def planned(cls, settings: SearchStart, lattice: Lattice, orientation: str) -> Self:
        """Order right-left, anterior-posterior, superior-inferior by array axis."""
        axes, _ = ras_axes(orientation)
        return cls(settings, lattice, tuple(settings.range_mm[axes.index(axis)] for axis in range(3)))

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Translate; see `Stage`."""
        settings = self.settings
        seen = features.on(self.lattice, settings.weights)
        found = search_start(
            seen.fixed,
            seen.moving,
            start.vectors,
            self.range_mm,
            min_overlap=settings.min_overlap,
            least_gain=settings.least_gain,
            keep=settings.keep,
        )
        facts = SearchFacts(
            candidates=found.tried,
            distance=found.finalists[0].distance,
            identity_distance=found.identity.distance,
            margin=found.margin,
            translation_mm=in_mm(found.translation, self.lattice),
        )
        return StageResult(translated(start, found.translation), facts)


def search_start(
    fixed: Features,
    moving: Features,
    base: Tensor,
    range_mm: Sequence[float],
    *,
    min_overlap: float,
    least_gain: float,
    keep: int,
) -> SearchResult:
    """Find the translation from which a small deformable registration brings the images closest.

    Args:
        fixed: features on a lattice of any size.
        moving: on the same lattice.
        base: (rank, *S) cells, the displacement so far.
        range_mm: searched both ways per axis; an axis of one cell is not searched.
        min_overlap: common foreground, as a share of the smaller one, that a candidate must reach.
        least_gain: share of its distance by which a candidate must be better than no translation.
        keep: candidates that go on to the finer lattice.
    """
    longest = max(range(len(range_mm)), key=lambda axis: range_mm[axis])
    coarse = _Level(fixed, moving, base, _COARSE_CELLS, _COARSE_RADIUS)
    reach = [min(int(r / s), n // 2) for r, s, n in zip(range_mm, coarse.mm, coarse.shape, strict=True)]
    # The deformable part covers its radius: steps of its whole width meet.
    steps = [max(1, min(r, 2 * _COARSE_RADIUS)) for r in reach]
    candidates = [c for c in candidate_translations(reach, steps) if coarse.may_overlap(c, min_overlap)]
    judged = [coarse.judge(c) for c in candidates]
    enough = [h for h in judged if h.overlap >= min_overlap] or judged
    best = _apart(sorted(enough, key=lambda h: h.distance), steps)[:keep]
    best = [h for h in best if h.distance <= (1 + _HOPELESS) * best[0].distance]

    fine = _Level(fixed, moving, base, _FINE_CELLS, _FINE_RADIUS, less_along=longest)
    ratio = [c / f for c, f in zip(coarse.mm, fine.mm, strict=True)]
    zero = (0.0,) * len(ratio)
    limit = [r / s for r, s in zip(range_mm, fine.mm, strict=True)]
    for translation in [zero, *(h.translation for h in best)]:
        seed = tuple(float(round(t * r)) for t, r in zip(translation, ratio, strict=True))
        _climb(fine, seed, limit, longest, min_overlap)
    finalists = list(fine.judged.values())
    identity = fine.judged[zero]
    allowed = [h for h in finalists if h.overlap >= min_overlap] or [identity]
    ranked = sorted(allowed, key=lambda h: h.distance)
    winner = ranked[0]
    if identity in allowed and winner.distance > (1 - least_gain) * identity.distance:
        winner = identity
    others = [
        h.distance
        for h in ranked
        if any(abs(a - b) > 2 * r for a, b, r in zip(h.translation, winner.translation, ratio, strict=True))
    ]
    margin = (min(others) - winner.distance) / winner.distance if others and winner.distance > 0 else 1.0
    to_cells = [f / s for f, s in zip(fine.mm, fixed.lattice.spacing_mm, strict=True)]
    shift = tuple(t * r for t, r in zip(winner.translation, to_cells, strict=True))
    return SearchResult(shift, len(candidates), tuple(ranked), identity, margin)


def _apart(ranked: Sequence[Hypothesis], steps: Sequence[int]) -> list[Hypothesis]:
    """Leave out every hypothesis that is a neighbour of a better one."""
    kept: list[Hypothesis] = []
    for h in ranked:
        near = (
            all(abs(a - b) <= s for a, b, s in zip(h.translation, k.translation, steps, strict=True))
            for k in kept
        )
        if not any(near):
            kept.append(h)
    return kept


def _climb(
    level: _Level, seed: tuple[float, ...], limit: Sequence[float], longest: int, min_overlap: float
) -> None:
    """Go from a translation to neighbours that are better, first along the axis that is searched furthest."""
    best = level.judge(seed)
    axes = sorted(range(len(seed)), key=lambda axis: axis != longest)
    for axis in (*axes, longest):
        for step in (-_STEP, _STEP) if level.shape[axis] > 1 else ():
            while True:
                moved = tuple(t + step if a == axis else t for a, t in enumerate(best.translation))
                if abs(moved[axis]) > limit[axis] or not level.may_overlap(moved, min_overlap):
                    break
                found = level.judge(moved)
                if found.overlap < min_overlap or found.distance >= best.distance:
                    break
                best = found


class _Level:
    """Both images and the displacement so far, on a lattice of about so many cells."""

    def __init__(
        self,
        fixed: Features,
        moving: Features,
        base: Tensor,
        cells: int,
        radius: int,
        *,
        less_along: int | None = None,
    ) -> None:
        lattice, factors = _coarser(fixed.lattice, cells)
        self._fixed, self._moving = fixed.on(lattice), moving.on(lattice)
        self._base = _pooled(base, factors)
        self.shape, self.mm = lattice.shape, lattice.spacing_mm
        self._radius = tuple(
            0 if n == 1 else radius - (axis == less_along) for axis, n in enumerate(self.shape)
        )
        self.judged: dict[tuple[float, ...], Hypothesis] = {}

    def may_overlap(self, translation: Sequence[float], least: float) -> bool:
        """Tell cheaply whether the boxes of both images could share enough after a translation."""
        share = 1.0
        for t, n in zip(translation, self.shape, strict=True):
            share *= max(0.0, 1 - abs(t) / n)
        return share >= least

    def judge(self, translation: tuple[float, ...]) -> Hypothesis:
        """Judge a translation, each once."""
        if translation not in self.judged:
            (self.judged[translation],) = judge_translations(
                self._fixed, self._moving, [translation], self._radius, base=self._base
            )
        return self.judged[translation]


def _coarser(lattice: Lattice, cells: int) -> tuple[Lattice, tuple[int, ...]]:
    """Return the finest lattice of whole, nearly cubic multiples with at most `cells`, and the multiples.

    A plane gets as many cells along an axis as a volume would.
    """
    factors = [1] * len(lattice.shape)
    cells = round(cells ** (sum(n > 1 for n in lattice.shape) / 3))

    def size() -> int:
        count = 1
        for n, f in zip(lattice.shape, factors, strict=True):
            count *= -(-n // f)
        return count

    while size() > cells:
        open_axes = [a for a, n in enumerate(lattice.shape) if factors[a] < n]
        if not open_axes:
            break
        axis = min(open_axes, key=lambda a: lattice.spacing_mm[a] * factors[a])
        factors[axis] += 1
    stride = tuple(s * f for s, f in zip(lattice.stride, factors, strict=True))
    spacing = tuple(s * f for s, f in zip(lattice.spacing_mm, factors, strict=True))
    return Lattice(lattice.image_shape, stride, spacing), tuple(factors)


def _pooled(base: Tensor, factors: Sequence[int]) -> Tensor:
    """Average a displacement over coarser cells, and count in them."""
    scale = torch.tensor(factors, dtype=base.dtype, device=base.device).view(-1, *([1] * len(factors)))
    return pool(base, factors) / scale
