"""Tokens of a pair: encoded within the memory there is, then joined by a PCA and brought to the lattice."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.pca import PcaBasis, fit_basis
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.encoders.slices.memory import (
    EncodingSize,
    MemoryEstimate,
    estimate_memory,
    fits,
    free_memory,
    smaller_sizes,
)
from dinoreg.encoders.slices.slice_plan import plan_slices
from dinoreg.encoders.slices.slicewise import TokenVolume, encode_slices, place_tokens
from dinoreg.pipeline.plan import Plan
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.config import TokenSettings
from dinoreg.space.features import Features
from dinoreg.space.lattice import pool
from dinoreg.start.slices import SliceCodes, enough_foreground

log = logging.getLogger(__name__)

_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class JointTokens:
    """What the tokens of two volumes have in common.

    Attributes:
        features: of fixed and moving on the plan's finest lattice, background 0.
        codes: of their slices.
        basis: of the PCA.
    """

    features: tuple[Features, Features]
    codes: SliceCodes
    basis: PcaBasis


class TokenMaker:
    """Encodes volumes by token encoders, each named volume once, never beyond the memory of the device."""

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._cache, self._device = cache, device
        self._sizes: dict[object, list[EncodingSize]] = {}

    def encode(
        self,
        settings: TokenSettings,
        encoder: SliceEncoder,
        images: Sequence[PreparedImage],
        plan: Plan,
        details: dict[str, Any],
    ) -> tuple[TokenVolume, TokenVolume]:
        """Encode both images of a pair with the same up-sampling.

        Args:
            settings: of the encoder.
            encoder: on the device.
            images: fixed and moving.
            plan: of the pair.
            details: filled with sizes and time, for the report.

        Raises:
            torch.OutOfMemoryError: not even single slices without up-sampling fit.
        """
        key = (settings, plan.image_shape, plan.voxels.spacing_mm)
        if key not in self._sizes:
            self._sizes[key] = self._sizes_that_fit(settings, encoder, plan, details)
        begin = time.perf_counter()
        while True:
            size = self._sizes[key][0]
            try:
                fixed, moving = (self._one(settings, encoder, image, plan, size) for image in images)
                break
            except torch.OutOfMemoryError:
                # Smaller batches were tried already: what is kept has to become smaller.
                later = [
                    s
                    for s in self._sizes[key]
                    if (s.up_sampling, s.on_host) != (size.up_sampling, size.on_host)
                ]
                if not later:
                    raise
                self._sizes[key] = later
                self._cache.clear()
                torch.cuda.empty_cache()
                log.warning("out of memory with %s: going on with %s", size, later[0])
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        details |= {
            "up_sampling": size.up_sampling,
            "batch": size.batch,
            "tokens_on_host": size.on_host,
            "slices": [len(volume.plan.indices) for volume in (fixed, moving)],
            "patches": [list(volume.plan.patches) for volume in (fixed, moving)],
            "encode_seconds": round(time.perf_counter() - begin, 3),
        }
        return fixed, moving

    def _sizes_that_fit(
        self, settings: TokenSettings, encoder: SliceEncoder, plan: Plan, details: dict[str, Any]
    ) -> list[EncodingSize]:
        """Return the sizes to try, largest first, all of which fit by estimate (or the smallest alone)."""
        spacing = plan.voxels.spacing_mm
        first, second = (a for a in range(3) if a != settings.axis)
        plane = [
            plan.image_shape[a] * spacing[a] / min(spacing[first], spacing[second]) for a in (first, second)
        ]
        free = free_memory(self._device)
        sizes = list(
            smaller_sizes(settings.up_sampling, settings.batch, has_host=self._device.type == "cuda")
        )

        def estimate(size: EncodingSize) -> MemoryEstimate:
            return estimate_memory(
                encoder,
                size,
                plane_voxels=math.prod(plane),
                slices=-(-plan.image_shape[settings.axis] // settings.slice_step) + 1,
                cells=math.prod(plan.finest.shape),
                components=settings.components,
                token_bytes=_TYPES[settings.storage].itemsize,
                value_bytes=_precision(settings, self._device).itemsize,
            )

        fitting = [size for size in sizes if fits(estimate(size), free)] or sizes[-1:]
        if fitting[0] != sizes[0]:
            log.warning(
                "%.0f MiB of memory are free, %s would take %.0f: going on with %s",
                free / _MIB,
                sizes[0],
                estimate(sizes[0]).peak / _MIB,
                fitting[0],
            )
        chosen = estimate(fitting[0])
        details["memory_mib"] = {
            "free": round(free / _MIB),
            "activations": round(chosen.activations / _MIB),
            "tokens": round(chosen.tokens / _MIB),
            "features": round(chosen.features / _MIB),
        }
        return fitting

    def _one(
        self,
        settings: TokenSettings,
        encoder: SliceEncoder,
        image: PreparedImage,
        plan: Plan,
        size: EncodingSize,
    ) -> TokenVolume:
        spacing = plan.voxels.spacing_mm

        def make() -> TokenVolume:
            content = np.zeros_like(image.foreground)
            content[image.content] = image.foreground[image.content]
            slices = plan_slices(
                content,
                spacing,
                axis=settings.axis,
                up_sampling=size.up_sampling,
                slice_step=settings.slice_step,
                patch_size=encoder.patch_size,
            )
            return encode_slices(
                encoder,
                torch.from_numpy(image.values).to(self._device),
                torch.from_numpy(image.foreground).to(self._device),
                slices,
                batch=size.batch,
                precision=_precision(settings, self._device),
                storage=_TYPES[settings.storage],
                keep_on=torch.device("cpu") if size.on_host else None,
            )

        if not image.name:
            return make()
        return self._cache.get((image.name, settings, spacing, size.up_sampling, size.on_host), make)


def join_tokens(
    settings: TokenSettings,
    volumes: tuple[TokenVolume, TokenVolume],
    images: Sequence[PreparedImage],
    plan: Plan,
    device: torch.device,
    details: dict[str, Any],
    *,
    basis: PcaBasis | None = None,
) -> JointTokens:
    """Project the tokens of two volumes on their common basis (Song et al. 2024, section 2.1).

    The basis is fitted to the patches that are foreground almost as a whole; the others become 0. Where
    masks are so small that there are hardly such patches, less foreground has to do.

    Args:
        settings: of the encoder.
        volumes: tokens of fixed and moving.
        images: fixed and moving.
        plan: of the pair.
        device: where to compute.
        details: filled with what was found, for the report.
        basis: a saved one to be used instead.
    """
    begin = time.perf_counter()
    above = _share_needed(settings, volumes)
    if basis is None:
        batches = chain.from_iterable(volume.foreground_tokens(above, device) for volume in volumes)
        basis = fit_basis(batches, settings.components)
    centred = settings.projection == "centred"
    features = [
        _features(volume, image, basis, above, centred, plan, device)
        for volume, image in zip(volumes, images, strict=True)
    ]
    details |= {
        "foreground_share": above,
        "explained_variance": [round(share, 5) for share in basis.explained.tolist()],
        "explained_variance_sum": round(float(basis.explained.sum()), 5),
        "pca_seconds": round(time.perf_counter() - begin, 3),
    }
    return JointTokens((features[0], features[1]), _codes(settings, volumes), basis)


def _features(
    volume: TokenVolume,
    image: PreparedImage,
    basis: PcaBasis,
    above: float,
    centred: bool,
    plan: Plan,
    device: torch.device,
) -> Features:
    """Features of one image on the plan's finest lattice, exactly 0 where there is no foreground."""
    kept = (volume.share > above).to(device)
    projected = torch.zeros(*kept.shape, basis.components.shape[1], device=device)
    for patches, chosen, out in zip(volume.patches, kept, projected, strict=True):
        tokens = patches.to(device).movedim(0, -1)[chosen]
        out[chosen] = basis.project(tokens, centred=centred)
    origin = [start for start, _ in plan.block]
    window = tuple(slice(*bounds) for bounds in plan.block)
    foreground = torch.from_numpy(image.foreground[window]).to(device, torch.float32).unsqueeze(0)
    weight = pool(foreground, plan.finest.stride)
    values = place_tokens(projected.movedim(-1, 1), volume.plan, plan.finest, origin=origin)
    return Features(values.mul_(weight > 0), weight, plan.finest)


def _share_needed(settings: TokenSettings, volumes: Sequence[TokenVolume]) -> float:
    """Return the share of foreground above which patches count: as set, unless that leaves too few."""
    for above in (settings.foreground_share, 0.5, 0.0):
        if all(int((volume.share > above).sum()) >= settings.components for volume in volumes):
            return above
    return -1.0


def _codes(settings: TokenSettings, volumes: Sequence[TokenVolume]) -> SliceCodes:
    """Cls tokens of both volumes on their common principal components."""
    basis = fit_basis([volume.cls for volume in volumes], settings.components)
    fixed, moving = (basis.project(volume.cls) for volume in volumes)
    valid = [enough_foreground(volume.share.sum(dim=(1, 2))) for volume in volumes]
    at = [torch.tensor(volume.plan.indices, device=fixed.device).float() for volume in volumes]
    return SliceCodes(torch.cdist(fixed, moving), at[0], at[1], valid[0], valid[1])


def _precision(settings: TokenSettings, device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return _TYPES["float16" if settings.precision == "auto" else settings.precision]
