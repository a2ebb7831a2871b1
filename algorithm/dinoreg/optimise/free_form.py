"""The free-form stage: B-splines moved by image correlation and, as a guide, by feature distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.dino3d.encoder import Dino3dEncoder
from dinoreg.encoders.intensity import IntensityEncoder
from dinoreg.encoders.registry import LoadedEncoder, build_encoder
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.errors import ConfigError
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.bspline import BSpline, choose_mesh, refine_control, zero_control
from dinoreg.optimise.data_term import DataTerm, warp_and_compare, warp_linear
from dinoreg.optimise.guidance import Encode, feature_term, slice_features, sum_terms
from dinoreg.optimise.similarity import ncc
from dinoreg.pipeline.plan import Plan
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.config import Config, Encoder, Ffd, Mind
from dinoreg.space.lattice import Lattice, pool, resize_displacement
from dinoreg.stage import StageClock
from regtask.errors import Fault


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    """Two images and the voxels that count, at the resolution of the image.

    Attributes:
        fixed: (1, *S), [0, 1].
        moving: (1, *S).
        weight: foreground of both, each (1, *S) in [0, 1]; None where everything counts.
    """

    fixed: Tensor
    moving: Tensor
    weight: tuple[Tensor, Tensor] | None


def cut_images(
    fixed: PreparedImage, moving: PreparedImage, plan: Plan, *, masked: bool, device: torch.device
) -> ImagePair:
    """Cut the plan's block out of two images and, where they count, their foregrounds."""
    window = tuple(slice(start, stop) for start, stop in plan.block)

    def cut(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array[window], dtype=np.float32)).to(device)[None]

    weight = (cut(fixed.foreground), cut(moving.foreground)) if masked else None
    return ImagePair(cut(fixed.values), cut(moving.values), weight)


def deform_freely(
    config: Config,
    plan: Plan,
    encoders: Sequence[tuple[Encoder, LoadedEncoder]],
    images: ImagePair,
    displacement: Tensor,
    lattice: Lattice,
    clock: StageClock,
) -> tuple[Tensor, Lattice]:
    """Run the free-form stages from a displacement on a lattice; returns the same after them."""
    for settings, target in zip(config.ffd, plan.ffd, strict=True):
        with clock.stage("ffd") as details:
            displacement, lattice = resize_displacement(displacement, lattice, target), target
            displacement = run_ffd(
                settings, encoders, images, displacement, lattice, scale=plan.length_scale, details=details
            )
    return displacement, lattice


def run_ffd(
    settings: Ffd,
    encoders: Sequence[tuple[Encoder, LoadedEncoder]],
    images: ImagePair,
    start: Tensor,
    lattice: Lattice,
    *,
    scale: float,
    details: dict[str, Any],
) -> Tensor:
    """Minimise (1 - alpha) NCC + alpha feature distance + lambda diffusion over control points.

    Koegl et al. 2024, eq. 3, from coarse to fine: images, lattice and control points get twice as fine from
    level to level.

    Args:
        settings: of the stage.
        encoders: the guides and their settings.
        images: of the block, rank 3; axes of size 1 are left out of the work.
        start: (3, *lattice.shape) cells; stays beneath the B-splines.
        lattice: of the finest level.
        scale: factor of the lengths of the settings.
        details: filled with what was found, for the report.

    Returns:
        (3, *lattice.shape) cells.
    """
    axes = [a for a, n in enumerate(lattice.image_shape) if n > 1]
    flat = _without_thin_axes(lattice, axes)
    base = start[axes].reshape(len(axes), *flat.shape)
    fixed, moving, *weights = (
        v.reshape(1, *flat.image_shape) for v in (images.fixed, images.moving, *(images.weight or ()))
    )
    guides = [
        (chosen.weight, make_guide(chosen, loaded, rank=len(axes), grid=settings.feature_grid))
        for chosen, loaded in (encoders if settings.alpha > 0 else ())
    ]
    mesh = choose_mesh(flat, settings.control_mm * scale)
    details["levels"] = []
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
        details["levels"].append(
            {
                "cells": here.shape,
                "control_points": tuple(control.shape[1:]),
                "iterations": trace.iterations,
                "losses": trace.losses,
            }
        )
    result = start.clone()
    result[axes] = displacement.reshape(len(axes), *lattice.shape)
    return result


def objective(
    settings: Ffd,
    guides: Sequence[tuple[float, Encode]],
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


def make_guide(chosen: Encoder, loaded: LoadedEncoder, *, rank: int, grid: int) -> Encode:
    """Return the encoder as a function of images of `rank`; MIND has its own form for each.

    Raises:
        ConfigError: an encoder of volumes for single slices, or one that is no guide: `dino3d` is no function
            of an image alone, and a single channel says nothing that NCC does not.
    """
    encoder = loaded.encoder
    if isinstance(encoder, SliceEncoder):
        return slice_features(encoder, grid=grid)
    if isinstance(chosen, Mind):
        return build_encoder(chosen, rank=rank)
    if isinstance(encoder, (Dino3dEncoder, IntensityEncoder)):
        raise ConfigError(
            Fault("cannot guide a free-form stage", chosen.name, expected="mind, dinov2, dinov3 or sam")
        )
    if encoder.rank != rank:
        fault = Fault(
            "an encoder of volumes cannot guide single slices",
            chosen.name,
            expected=f"rank {rank}",
            got=f"rank {encoder.rank}",
        )
        raise ConfigError(fault)
    return encoder


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
