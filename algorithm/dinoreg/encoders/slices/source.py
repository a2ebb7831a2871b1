"""Features by a 2D token encoder: each image encoded once, never beyond the memory of the device."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.evidence import keep_evidence
from dinoreg.encoders.pca import read_basis
from dinoreg.encoders.precision import compute_dtype, wider
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.encoders.slices.guide import slice_features
from dinoreg.encoders.slices.joint import join_tokens
from dinoreg.encoders.slices.memory import (
    EncodingSize,
    MemoryEstimate,
    estimate_memory,
    fits,
    smaller_sizes,
)
from dinoreg.encoders.slices.slice_facts import MemoryFacts, SliceFacts
from dinoreg.encoders.slices.slice_plan import plan_slices
from dinoreg.encoders.slices.slicewise import TokenVolume, encode_slices
from dinoreg.encoders.slices.turned import array_to_ras, tokens_from_ras
from dinoreg.encoders.source import Encoded, Guide
from dinoreg.errors import NumericalError
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.runtime import free_memory
from dinoreg.settings.encoders import TokenEncoder
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.space.orientation import RAS, axis_across, ras_axes
from dinoreg.weights.search import WeightsFile, file_digest
from regtask.errors import Fault

log = logging.getLogger(__name__)

_STORAGE = {"float32": torch.float32, "float16": torch.float16}
_MIB = 1 << 20


class NotFiniteError(Exception):
    """Tokens are too large for the type that they were computed or stored in."""


class SliceSource:
    """A 2D token encoder with its settings."""

    def __init__(
        self,
        settings: TokenEncoder,
        encoder: SliceEncoder,
        weights: WeightsFile | None,
        cache: FeatureCache,
        device: torch.device,
    ) -> None:
        """Take up a loaded encoder.

        Raises:
            ConfigError: a saved basis cannot be used.
        """
        self.settings, self.weights = settings, weights
        self.channels = settings.components
        self.digests = {"weights": weights.sha256} if weights else {}
        self._encoder, self._cache, self._device = encoder, cache, device
        self._precision = compute_dtype(settings.precision, device, automatic="float16")
        self._storage = _STORAGE[settings.storage]
        self._basis = None
        if settings.basis:
            self._basis = read_basis(Path(settings.basis), channels=encoder.channels)
            self.digests["basis"] = file_digest(Path(settings.basis))
        self._sizes: dict[object, list[EncodingSize]] = {}
        self._memory: dict[object, MemoryFacts] = {}

    def encode(self, images: tuple[PreparedImage, PreparedImage], frame: Frame, lattice: Lattice) -> Encoded:
        """Encode a pair; see `FeatureSource`."""
        key = (frame.image_shape, frame.spacing_mm, frame.orientation)
        begin = time.perf_counter()
        size, volumes = self._tokens(images, frame, lattice, key)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - begin
        joined = join_tokens(self.settings, volumes, images, frame, lattice, self._device, basis=self._basis)
        facts = SliceFacts(
            up_sampling=size.up_sampling,
            batch=size.batch,
            tokens_on_host=size.on_host,
            precision=_name(self._precision),
            storage=_name(self._storage),
            slices=tuple(len(volume.plan.indices) for volume in volumes),
            patches=tuple(volume.plan.patches for volume in volumes),
            encode_seconds=round(seconds, 3),
            memory_mib=self._memory[key],
            pca=joined.facts,
        )
        evidence = keep_evidence(*joined.features, joined.basis, {volumes[0].plan.axis: joined.codes})
        return Encoded(*joined.features, facts, evidence)

    def guide(self, rank: int, grid: int) -> Guide:
        """Return the encoder for images of slices or single ones; see `FeatureSource`."""
        return slice_features(self._encoder, grid=grid, axis=self.settings.axis)

    def _tokens(
        self, images: tuple[PreparedImage, PreparedImage], frame: Frame, lattice: Lattice, key: object
    ) -> tuple[EncodingSize, tuple[TokenVolume, TokenVolume]]:
        """Encode both images with the same up-sampling, smaller where memory does not suffice.

        Raises:
            torch.OutOfMemoryError: not even single slices without up-sampling fit.
            NumericalError: tokens are not finite in float32 either.
        """
        while True:
            if key not in self._sizes:
                self._sizes[key], self._memory[key] = self._sizes_that_fit(frame, lattice)
            size = self._sizes[key][0]
            try:
                return size, (self._one(images[0], frame, size), self._one(images[1], frame, size))
            except NotFiniteError:
                self._take_wider_numbers()
                continue
            except torch.OutOfMemoryError:
                # Smaller batches were tried already: what is kept has to become smaller.
                kept = (size.up_sampling, size.on_host)
                later = [s for s in self._sizes[key] if (s.up_sampling, s.on_host) != kept]
                if not later:
                    raise
            # Outside the handler: the exception holds the activations as long as it is there.
            self._sizes[key] = later
            self._cache.clear()
            torch.cuda.empty_cache()
            log.warning("out of memory with %s: going on with %s", size, later[0])

    def _take_wider_numbers(self) -> None:
        """Compute, and in the end store, both images and all that follow in a type for larger values.

        Raises:
            NumericalError: there is none.
        """
        tried = f"{_name(self._precision)}, stored in {_name(self._storage)}"
        if (next_one := wider(self._precision)) is not None:
            self._precision = next_one
        elif self._storage != torch.float32:
            self._storage = torch.float32
        else:
            raise NumericalError(
                Fault("tokens not finite", self.settings.name, got=tried, remedy="check the weights")
            )
        self._cache.clear()
        self._sizes.clear()
        log.warning(
            "tokens not finite in %s: going on in %s, stored in %s",
            tried,
            _name(self._precision),
            _name(self._storage),
        )

    def _sizes_that_fit(self, frame: Frame, lattice: Lattice) -> tuple[list[EncodingSize], MemoryFacts]:
        """Return the sizes to try, largest first, all of which fit by estimate (or the smallest alone)."""
        settings = self.settings
        axis = self._array_axis(frame)
        first, second = (a for a in range(3) if a != axis)
        finer_mm = min(frame.spacing_mm[first], frame.spacing_mm[second])
        plane = [frame.image_shape[a] * frame.spacing_mm[a] / finer_mm for a in (first, second)]
        wanted = self._up_sampling(finer_mm, frame.length_scale)
        free = free_memory(self._device)
        sizes = list(smaller_sizes(wanted, settings.batch, has_host=self._device.type == "cuda"))

        def estimate(size: EncodingSize) -> MemoryEstimate:
            return estimate_memory(
                self._encoder,
                size,
                plane_voxels=math.prod(plane),
                slices=-(-frame.image_shape[axis] // settings.slice_step) + 1,
                cells=math.prod(lattice.shape),
                components=settings.components,
                token_bytes=self._storage.itemsize,
                value_bytes=self._precision.itemsize,
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
        amounts = (free, chosen.activations, chosen.tokens, chosen.features)
        return fitting, MemoryFacts(*(round(amount / _MIB) for amount in amounts))

    def _array_axis(self, frame: Frame) -> int:
        """Across the slices."""
        plane = self.settings.slices
        return self.settings.axis if plane == "array" else axis_across(plane, frame.orientation)

    def _up_sampling(self, finer_mm: float, length_scale: float) -> float:
        """Pixels per voxel, so that no patch is smaller than the settings allow."""
        settings = self.settings
        if not settings.token_pitch_mm:
            return settings.up_sampling
        at_most = finer_mm * self._encoder.patch_size / (settings.token_pitch_mm * length_scale)
        return min(settings.up_sampling, at_most)

    def _one(self, image: PreparedImage, frame: Frame, size: EncodingSize) -> TokenVolume:
        settings = self.settings
        turned = settings.slices != "array" and frame.orientation != RAS

        def make() -> TokenVolume:
            content = np.zeros_like(image.foreground)
            content[image.content] = image.foreground[image.content]
            if settings.whole_slices:
                content[:] = True
            arrays: tuple[NDArray[Any], ...] = (image.values, image.foreground, content)
            spacing_mm, axis = frame.spacing_mm, self._array_axis(frame)
            if turned:
                arrays = tuple(array_to_ras(array, frame.orientation) for array in arrays)
                spacing_mm = tuple(frame.spacing_mm[a] for a in ras_axes(frame.orientation)[0])
                axis = axis_across(settings.slices, RAS)
            values, foreground, content = arrays
            slices = plan_slices(
                content,
                spacing_mm,
                axis=axis,
                up_sampling=size.up_sampling,
                slice_step=settings.slice_step,
                patch_size=self._encoder.patch_size,
            )
            tokens = encode_slices(
                self._encoder,
                torch.from_numpy(values).to(self._device),
                torch.from_numpy(foreground).to(self._device),
                slices,
                batch=size.batch,
                precision=self._precision,
                storage=self._storage,
                keep_on=torch.device("cpu") if size.on_host else None,
            )
            if not tokens.finite:
                raise NotFiniteError
            return tokens_from_ras(tokens, frame.orientation) if turned else tokens

        rest = (
            settings,
            frame.spacing_mm,
            size.up_sampling,
            size.on_host,
            frame.orientation if turned else RAS,
        )
        return self._cache.of_image(image.identity, rest, make)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
