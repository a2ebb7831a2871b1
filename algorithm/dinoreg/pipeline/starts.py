"""Run one start step on the features of its lattice."""

from __future__ import annotations

from typing import Any, assert_never

import torch
from torch import Tensor

from dinoreg.encoders.features import Features
from dinoreg.optimise.discrete import warp_features
from dinoreg.pipeline.config import AffineStart, CentresStart, HypothesesStart, SlicesStart, Start
from dinoreg.pipeline.plan import hypothesis_cells
from dinoreg.space.compose import compose
from dinoreg.start.affine import fit_affine
from dinoreg.start.hypotheses import candidate_translations, choose, judge_translations
from dinoreg.start.masks import match_centres
from dinoreg.start.slices import match_slices, slice_descriptors, slice_distances


def run_start(
    step: Start, fixed: Features, moving: Features, base: Tensor, *, scale: float, details: dict[str, Any]
) -> Tensor:
    """Refine the displacement so far by one start step.

    Args:
        step: which, with its settings.
        fixed: features on the step's lattice.
        moving: likewise.
        base: (3, *S) cells, the displacement so far.
        scale: factor of the plan on every length.
        details: filled with what the step found, for the report.

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
        case CentresStart():
            shift = match_centres(fixed, warp_features(moving, base))
        case SlicesStart():
            fixed_descriptors, fixed_valid = slice_descriptors(fixed, step.axis)
            moving_descriptors, moving_valid = slice_descriptors(warp_features(moving, base), step.axis)
            slices = match_slices(
                slice_distances(fixed_descriptors, moving_descriptors),
                fixed_valid,
                moving_valid,
                closest=step.closest,
                robust=step.robust,
            )
            shift = torch.zeros_like(spacing)
            shift[step.axis] = slices
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
