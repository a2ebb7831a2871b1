"""The free-form stage: B-splines moved by image correlation and, as a guide, by feature distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dinoreg.encoders.pair import BoxImages, PairFeatures
from dinoreg.encoders.source import Guide
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.bspline import BSpline, choose_mesh, refine_control, zero_control
from dinoreg.optimise.data_term import DataTerm, warp_and_compare, warp_linear
from dinoreg.optimise.guidance import feature_term, sum_terms
from dinoreg.optimise.similarity import ncc
from dinoreg.settings.config import Ffd
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool, resize_displacement
from dinoreg.stage import StageResult


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """What one level of a free-form stage did."""

    cells: tuple[int, ...]
    control_points: tuple[int, ...]
    iterations: int
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FreeFormFacts:
    """From the coarsest level to the finest."""

    levels: tuple[LevelFacts, ...]


@dataclass(frozen=True, slots=True)
class FreeForm:
    """B-splines on top of the deformation so far.

    Attributes:
        settings: of the stage.
        lattice: of the finest level.
        control_mm: distance of its control points.
    """

    settings: Ffd
    lattice: Lattice
    control_mm: float
    name: ClassVar[str] = "ffd"
    safe: ClassVar[bool] = False

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Deform; see `Stage`."""
        assert features.images is not None
        rank = sum(n > 1 for n in self.lattice.image_shape)
        guides = [
            (source.settings.weight, source.guide(rank, self.settings.feature_grid))
            for source in (features.guides if self.settings.alpha > 0 else ())
        ]
        vectors, facts = run_ffd(
            self.settings, guides, features.images, start.vectors, self.lattice, control_mm=self.control_mm
        )
        return StageResult(Deformation(vectors, self.lattice), facts)


def run_ffd(
    settings: Ffd,
    guides: Sequence[tuple[float, Guide]],
    images: BoxImages,
    start: Tensor,
    lattice: Lattice,
    *,
    control_mm: float,
) -> tuple[Tensor, FreeFormFacts]:
    """Minimise (1 - alpha) NCC + alpha feature distance + lambda diffusion over control points.

    Koegl et al. 2024, eq. 3, from coarse to fine: images, lattice and control points get twice as fine from
    level to level.

    Args:
        settings: of the stage.
        guides: weight and encoder each.
        images: of the box, rank 3; axes of size 1 are left out of the work.
        start: (3, *lattice.shape) cells; stays beneath the B-splines.
        lattice: of the finest level.
        control_mm: distance of the control points of the finest level.

    Returns:
        (3, *lattice.shape) cells, and what was found.
    """
    axes = [a for a, n in enumerate(lattice.image_shape) if n > 1]
    flat = _without_thin_axes(lattice, axes)
    base = start[axes].reshape(len(axes), *flat.shape)
    fixed, moving, *weights = (
        v.reshape(1, *flat.image_shape) for v in (images.fixed, images.moving, *(images.weight or ()))
    )
    mesh = choose_mesh(flat, control_mm)
    levels: list[LevelFacts] = []
    control: Tensor | None = None
    for level in reversed(range(settings.levels)):
        here = _coarser(flat, 2**level)
        wanted = tuple(-(-m // 2**level) for m in mesh)
        # Control points are in cells, which are half as large as those of the level before.
        control = zero_control(wanted) if control is None else 2 * refine_control(control, wanted)
        model = BSpline(control.to(start.device), here, base=resize_displacement(base, flat, here))
        weight = None
        if weights:
            fixed_weight, moving_weight = (pool(v, here.stride) for v in weights)
            with torch.no_grad():
                weight = fixed_weight * warp_linear(moving_weight, model.displacement())
        term = objective(settings, guides, pool(fixed, here.stride), pool(moving, here.stride), weight=weight)
        displacement, trace = refine_adam(
            model,
            term,
            regularity_weight=settings.regularity_weight,
            spacing_mm=here.spacing_mm,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            stop_below=settings.stop_below,
        )
        control = model.control.detach()
        points = tuple(control.shape[1:])
        levels.append(LevelFacts(here.shape, points, trace.iterations, trace.losses))
    result = start.clone()
    result[axes] = displacement.reshape(len(axes), *lattice.shape)
    return result, FreeFormFacts(tuple(levels))


def objective(
    settings: Ffd,
    guides: Sequence[tuple[float, Guide]],
    fixed: Tensor,
    moving: Tensor,
    *,
    weight: Tensor | None = None,
) -> DataTerm:
    """Return (1 - alpha) NCC + alpha feature distance, averaged over the guides by their weights.

    Args:
        settings: alpha, distance and order.
        guides: weight and encoder each.
        fixed: (1, *S).
        moving: (1, *S).
        weight: (1, *S), the voxels that count, or None.
    """
    total = sum(share for share, _ in guides) or 1.0
    terms = [(1 - settings.alpha, warp_and_compare(ncc(fixed), moving, weight=weight))]
    for share, encode in guides:
        guide = feature_term(
            encode, fixed, moving, kind=settings.distance, order=settings.order, weight=weight
        )
        terms.append((settings.alpha * share / total, guide))
    return sum_terms(terms)


def _without_thin_axes(lattice: Lattice, axes: Sequence[int]) -> Lattice:
    return Lattice(
        tuple(lattice.image_shape[a] for a in axes),
        tuple(lattice.stride[a] for a in axes),
        tuple(lattice.spacing_mm[a] for a in axes),
    )


def _coarser(lattice: Lattice, factor: int) -> Lattice:
    return Lattice(
        lattice.image_shape,
        tuple(s * factor for s in lattice.stride),
        tuple(s * factor for s in lattice.spacing_mm),
    )
