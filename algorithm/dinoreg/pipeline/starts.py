"""Run one start step on the features of its lattice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, assert_never

import torch
from torch import Tensor

from dinoreg.optimise.discrete import warp_features
from dinoreg.pipeline.plan import hypothesis_cells
from dinoreg.settings.config import (
    AffineStart,
    CentresStart,
    HypothesesStart,
    SearchStart,
    SlicesStart,
    Start,
)
from dinoreg.space.compose import compose
from dinoreg.space.features import Features
from dinoreg.space.orientation import RAS, ras_axes
from dinoreg.start.affine import fit_affine
from dinoreg.start.hypotheses import candidate_translations, choose, judge_translations
from dinoreg.start.masks import match_centres
from dinoreg.start.search import search_start
from dinoreg.start.slices import SliceCodes, SliceMatch, compare_slices, match_slices


def run_start(
    step: Start,
    fixed: Features,
    moving: Features,
    base: Tensor,
    *,
    scale: float,
    details: dict[str, Any],
    codes: Mapping[int, SliceCodes] = MappingProxyType({}),
    origin: Sequence[int] = (0, 0, 0),
    orientation: str = RAS,
    keep_match: Callable[[SliceMatch], None] = lambda match: None,
) -> Tensor:
    """Refine the displacement so far by one start step.

    Args:
        step: which, with its settings.
        fixed: features on the step's lattice.
        moving: likewise.
        base: (3, *S) cells, the displacement so far.
        scale: factor of the plan on every length.
        details: filled with what the step found, for the report.
        codes: distances of the encoded slices by their cls tokens, for each axis that has them, in voxels.
        origin: first voxel of the block that the lattice covers.
        orientation: of the image.
        keep_match: given what a match of slices compared and found.

    Returns:
        (3, *S) cells.
    """
    spacing = torch.tensor(fixed.lattice.spacing_mm, dtype=base.dtype, device=base.device)
    match step:
        case HypothesesStart():
            reach, stride, radius = hypothesis_cells(step, fixed.lattice, scale)
            hypotheses = judge_translations(
                fixed, moving, candidate_translations(reach, stride), radius, base=base
            )
            best = choose(hypotheses, min_overlap=step.min_overlap)
            details["hypotheses"] = [
                {
                    "translation_mm": [t * s for t, s in zip(h.translation, spacing.tolist(), strict=True)],
                    "distance": h.distance,
                    "overlap": h.overlap,
                }
                for h in hypotheses
            ]
            shift = torch.tensor(best.translation, dtype=base.dtype, device=base.device)
        case SearchStart():
            found = search_start(
                fixed,
                moving,
                base,
                _along_array(step.range_mm, orientation),
                min_overlap=step.min_overlap,
                least_gain=step.least_gain,
                keep=step.keep,
            )
            details |= found.facts()
            shift = torch.tensor(found.translation, dtype=base.dtype, device=base.device)
        case CentresStart():
            shift = match_centres(fixed, warp_features(moving, base))
        case SlicesStart():
            shift = torch.zeros_like(spacing)
            shift[step.axis] = _slice_shift(step, fixed, moving, base, codes, origin, details, keep_match)
        case AffineStart():
            return fit_affine(
                fixed,
                moving,
                base,
                iterations=step.iterations,
                learning_rate=step.learning_rate,
                min_overlap=step.min_overlap,
            )
        case _:
            assert_never(step)
    details["translation_mm"] = (shift * spacing).tolist()
    return compose(shift.view(-1, *([1] * (base.ndim - 1))).expand_as(base).contiguous(), base)


def _along_array(along_ras: Sequence[float], orientation: str) -> list[float]:
    """Order lengths along right-left, anterior-posterior, superior-inferior by array axis."""
    axes, _ = ras_axes(orientation)
    return [along_ras[axes.index(axis)] for axis in range(3)]


def _slice_shift(
    step: SlicesStart,
    fixed: Features,
    moving: Features,
    base: Tensor,
    codes: Mapping[int, SliceCodes],
    origin: Sequence[int],
    details: dict[str, Any],
    keep_match: Callable[[SliceMatch], None],
) -> float:
    """Shift along the axis on top of the displacement so far, cells."""
    by_cls = step.axis in codes if step.descriptor == "auto" else step.descriptor == "cls"
    if by_cls:
        found = codes[step.axis]
    else:
        moved = warp_features(moving, base)
        found = compare_slices(fixed, moved, step.axis, origin=origin[step.axis])
    shift = match_slices(
        found.distances,
        found.fixed_valid,
        found.moving_valid,
        closest=step.closest,
        robust=step.robust,
        fixed_at=found.fixed_at,
        moving_at=found.moving_at,
    )
    keep_match(SliceMatch(found, step.axis, shift, 0 if step.robust else step.closest))
    details |= {"descriptor": "cls" if by_cls else "features", "slices": list(found.distances.shape)}
    cells = shift / fixed.lattice.stride[step.axis]
    if not by_cls:
        return cells
    # Whole slices are compared where they are: the displacement so far has had its part of the shift.
    so_far = (base[step.axis] * fixed.weight[0]).sum() / fixed.weight.sum().clamp(min=1e-6)
    return cells - float(so_far)
