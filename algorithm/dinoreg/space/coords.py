"""Positions on a lattice, and the one conversion to torch's sampling coordinates.

Convention of the whole library: arrays are (C, I, J, K) in NIfTI index order, a displacement is
(rank, I, J, K) with component a along array axis a, in voxels, pull (fixed to moving), identity not
included, and `align_corners=False`. `grid_sample` reads the last array axis first; the reversal happens
here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def identity_positions(
    shape: Sequence[int], *, device: torch.device | str = "cpu"
) -> Float[Tensor, "rank *s"]:
    """Return the voxel positions of a lattice.

    Returns:
        (rank, *shape) float32; entry [a, i, j, k] is the index along axis a.
    """
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def to_sampling_grid(positions: Float[Tensor, "rank *t"], shape: Sequence[int]) -> Float[Tensor, "1 *t rank"]:
    """Turn voxel positions into the normalised, reversed coordinates of `grid_sample`.

    Convention: `align_corners=False`, normalised = (2 v + 1) / n - 1.

    Args:
        positions: (rank, *T) voxels of the lattice that is sampled.
        shape: sizes (I, J, K) of that lattice.

    Returns:
        (1, *T, rank), last array axis first.
    """
    sizes = per_axis(shape, positions)
    normalised = (2 * positions + 1) / sizes - 1
    return normalised.flip(0).movedim(0, -1).unsqueeze(0)


def per_axis(numbers: Sequence[float], like: Tensor) -> Tensor:
    """Return one number per axis, to be combined with (rank, *S) values.

    Copied to a device once: every copy from the host makes the host wait for the device, which an optimiser
    would do in every iteration.

    Args:
        numbers: rank of them.
        like: (rank, *S); its type, device and number of axes are taken over.

    Returns:
        (rank, 1, ...); not to be changed.
    """
    return _on_device(tuple(numbers), like.dtype, like.device).view(-1, *([1] * (like.ndim - 1)))


@lru_cache(maxsize=256)
def _on_device(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # made while encoding, it may be used with gradients later
        return torch.tensor(numbers, dtype=dtype, device=device)
