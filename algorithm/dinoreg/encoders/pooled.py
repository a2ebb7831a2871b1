"""Encode a volume slab by slab and keep only the pooled features, so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.encoders.base import Encoder
from dinoreg.space.lattice import Lattice, pool


@dataclass(frozen=True, slots=True)
class _Slab:
    """Rows [start, stop) along the first axis, and the rows [low, high) that must be read for them."""

    start: int
    stop: int
    low: int
    high: int


@torch.no_grad()
def encode_pooled(encoder: Encoder, image: Tensor, lattice: Lattice, *, slab_voxels: int = 3 << 17) -> Tensor:
    """Encode an image and average its features over the cells of a lattice.

    Equal to encoding the whole image and pooling, but at most about `slab_voxels` voxels of full-resolution
    features exist at a time.

    Args:
        encoder: its context, if any, is taken over the whole image first.
        image: (1, *S).
        lattice: over the same S.
        slab_voxels: bounds the memory; at least one row of cells is done at a time.

    Returns:
        (channels, *lattice.shape) float32, the channels of a cell contiguous, as the samplers read them.
    """
    rows = lattice.stride[0] * max(1, slab_voxels // (image[0, 0].numel() * lattice.stride[0]))
    slabs = list(_slabs(image.shape[1], rows, encoder.margin))
    context = _mean_context(encoder, image, slabs)
    # Channels last from the beginning: no second copy of the whole is needed for that.
    pooled = image.new_empty(*lattice.shape, encoder.channels).movedim(-1, 0)
    for slab in slabs:
        features = encoder(image[:, slab.low : slab.high], context)
        cells = slice(slab.start // lattice.stride[0], -(-slab.stop // lattice.stride[0]))
        pooled[:, cells] = pool(features[:, slab.start - slab.low : slab.stop - slab.low], lattice.stride)
    return pooled


def _slabs(size: int, rows: int, margin: int) -> Iterator[_Slab]:
    for start in range(0, size, rows):
        stop = min(start + rows, size)
        yield _Slab(start, stop, max(0, start - margin), min(size, stop + margin))


def _mean_context(encoder: Encoder, image: Tensor, slabs: list[_Slab]) -> Tensor | None:
    total = torch.zeros((), dtype=torch.float64, device=image.device)
    for slab in slabs:
        values = encoder.context_map(image[:, slab.low : slab.high])
        if values is None:
            return None
        total += values[:, slab.start - slab.low : slab.stop - slab.low].sum(dtype=torch.float64)
    return (total / image.numel()).to(image.dtype)
