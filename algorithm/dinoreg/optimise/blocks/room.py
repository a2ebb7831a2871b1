"""How many channels of a data term are computed at a time, so that an Adam stage fits into memory.

The result hardly depends on it (sums are taken in another order), and what is chosen depends on the size of
the problem alone where memory suffices, so that machines with more of it find the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from dinoreg.runtime import SHARE_OF_FREE
from dinoreg.space.kernels.choice import on_gpu
from dinoreg.space.lattice import Lattice
from regtask.untrusted.memory import in_words

log = logging.getLogger(__name__)

_FLOAT = 4
# Memory that the channels of one block may take where there is plenty: more at a time is hardly faster.
_BLOCK_BYTES = 3 << 30
# Values per cell that exist at once, by `benchmarks/bench_memory.py`: of a displacement with its gradient and
# the history of Adam; of one channel in a block; of one channel of fixed in what may be kept of it.
_FIELD_VALUES = 70
_BLOCK_VALUES = {"lcc": 44, "ssd": 10, "fused": 0}
_KEPT_VALUES = {"lcc": 4, "ssd": 0, "fused": 0}

Kind = Literal["ssd", "lcc"]


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """How an optimisation was made to fit.

    Attributes:
        channels_at_a_time: of the data term.
        keeps_statistics: whether the means and variances of fixed are kept, or made anew in every iteration.
        estimated_mib: that it takes beside the features.
        free_mib: that there were.
    """

    channels_at_a_time: int
    keeps_statistics: bool
    estimated_mib: int
    free_mib: int


def find_room(
    similarity: Kind, channels: int, largest_part: int, lattice: Lattice, device: torch.device, free: int
) -> RoomFacts:
    """Return the largest blocks that fit into a share of the free memory.

    Args:
        similarity: of the data term.
        channels: of the features.
        largest_part: most channels of one encoder; a block does not reach over two encoders.
        lattice: of the stage.
        device: where it is computed.
        free: bytes.

    Raises:
        torch.OutOfMemoryError: not even single channels fit.
    """
    cells = math.prod(lattice.shape)
    fused = similarity == "ssd" and (device.type == "cpu" or on_gpu(device))
    kind = "fused" if fused else similarity
    one = max(1, _BLOCK_VALUES[kind] * cells * _FLOAT)
    wanted = largest_part if kind == "fused" else max(1, min(largest_part, _BLOCK_BYTES // one))

    def needed(block: int, keep: bool) -> int:
        kept = _KEPT_VALUES[kind] * channels * cells * _FLOAT if keep else 0
        return _FIELD_VALUES * cells * _FLOAT + block * one + kept

    tried = list(_smaller(wanted, keeps=_KEPT_VALUES[kind] > 0))
    for block, keep in tried:
        if needed(block, keep) <= SHARE_OF_FREE * free:
            found = RoomFacts(block, keep, needed(block, keep) >> 20, free >> 20)
            if (block, keep) != tried[0]:
                log.warning("%s of memory are free: %s", in_words(free), found)
            return found
    least = in_words(needed(*tried[-1]))
    raise torch.OutOfMemoryError(
        f"{similarity} of {channels} channels on {lattice.shape} cells takes {least},"
        f" {in_words(free)} are free"
    )


def _smaller(block: int, *, keeps: bool) -> Iterator[tuple[int, bool]]:
    """Yield channels at a time, and whether statistics are kept: from the fastest to the smallest."""
    if keeps:
        yield block, True
    while block > 1:
        yield block, False
        block //= 2
    yield 1, False
