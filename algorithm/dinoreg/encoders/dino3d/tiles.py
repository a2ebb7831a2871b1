"""Run a network of volumes over overlapping tiles: the memory of a tile, nearly the result of the whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.encoders.dino3d.volume_network import VolumeNetwork


@dataclass(frozen=True, slots=True)
class _Span:
    """One axis of a tile: voxels [start, stop) that it answers for, and [low, high) that it must see."""

    start: int
    stop: int
    low: int
    high: int


@torch.no_grad()
def encode_tiles(
    network: VolumeNetwork, volume: Tensor, *, tile: int, precision: torch.dtype = torch.float32
) -> tuple[Tensor, int]:
    """Encode a volume, as a whole where it fits into one tile.

    Tiles begin at multiples of the network's coarsest cells and see all that convolutions bring to their
    features. What is not the same as in the whole is the norm, whose statistics are those of a tile, and
    attention, which ends with it: a volume should be done as a whole where there is the memory for it, and
    where the network was trained on as much.

    Args:
        network: on the device of `volume`.
        volume: (1, *S), sizes multiples of `network.multiple`.
        tile: voxels per axis that a tile answers for at most; at least one coarsest cell is done at a time.
        precision: of the convolutions.

    Returns:
        (channels, *S / stride) float32, the channels of a cell contiguous, and the number of tiles.
    """
    multiple, stride = network.multiple, network.stride
    overlap = -(-network.reach // multiple) * multiple

    def answered(size: int) -> int:
        if network.largest is None or size <= network.largest:
            return tile
        return min(tile, network.largest - 2 * overlap)

    axes = [list(_spans(size, answered(size), multiple, overlap)) for size in volume.shape[1:]]
    tiles = list(itertools.product(*axes))
    cells = [size // stride for size in volume.shape[1:]]
    out = volume.new_empty(*cells, network.channels, dtype=torch.float32).movedim(-1, 0)
    for spans in tiles:
        seen = volume[(slice(None), *(slice(s.low, s.high) for s in spans))].unsqueeze(0)
        with torch.autocast(volume.device.type, dtype=precision, enabled=precision != torch.float32):
            features = network(seen).squeeze(0)
        own = [slice((s.start - s.low) // stride, (s.stop - s.low) // stride) for s in spans]
        target = [slice(s.start // stride, s.stop // stride) for s in spans]
        out[(slice(None), *target)] = features[(slice(None), *own)]
    return out, len(tiles)


def _spans(size: int, tile: int, multiple: int, overlap: int) -> Iterator[_Span]:
    """Cut an axis into as few parts as `tile` allows, as equal as multiples can be."""
    blocks, most = size // multiple, max(1, tile // multiple)
    count = -(-blocks // most)
    step = -(-blocks // count) * multiple
    for start in range(0, size, step):
        stop = min(start + step, size)
        yield _Span(start, stop, max(0, start - overlap), min(size, stop + overlap))
