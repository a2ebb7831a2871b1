"""Data terms: how well a displacement brings moving onto fixed, as one differentiable number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.optimise.similarity import Similarity
from dinoreg.space.displaced import bind_squared_difference, in_reading_order, sample_displaced

# u, (rank, *S) cells -> scalar to be minimised, with both images bound.
DataTerm = Callable[[Tensor], Tensor]
# (moving (C, *S), displacement (rank, *S) cells) -> moving read at x + u(x), (C, *S).
Sample = Callable[[Tensor, Tensor], Tensor]


def warp_linear(
    moving: Float[Tensor, "c *s"], displacement: Float[Tensor, "rank *s"]
) -> Float[Tensor, "c *s"]:
    """Read `moving` at x + u(x) by linear interpolation, border replicated."""
    return sample_displaced(moving, displacement)


def warp_and_compare(
    similarity: Similarity,
    moving: Float[Tensor, "c *s"],
    *,
    weight: Float[Tensor, "1 *s"] | None = None,
    sample: Sample = warp_linear,
) -> DataTerm:
    """Return the term that warps `moving` and applies a similarity bound to fixed.

    Args:
        similarity: bound to the fixed features.
        moving: (C, *S) on the same lattice.
        weight: (1, *S), the voxels that count, or None.
        sample: how moving is read at x + u(x).
    """
    moving = in_reading_order(moving)
    return lambda displacement: similarity(sample(moving, displacement), weight)


def ssd_term(
    fixed: Float[Tensor, "c *s"],
    moving: Float[Tensor, "c *s"],
    *,
    weight: Float[Tensor, "1 *s"] | None = None,
) -> DataTerm:
    """Return `warp_and_compare(ssd(fixed), moving, weight=weight)`, in one pass and without a warped copy.

    Args:
        fixed: (C, *S) features.
        moving: (C, *S) on the same lattice.
        weight: (1, *S), the voxels that count, or None.
    """
    distance = bind_squared_difference(fixed, moving, weight)
    cells = float(fixed[0].numel())
    total = torch.tensor(cells) if weight is None else weight.sum().clamp(min=1e-6)
    return lambda displacement: distance(displacement) / total
