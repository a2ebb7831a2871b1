"""How much freedom a displacement deserves, judged by cells that it was not fitted to.

Less smoothness always brings images closer together where they are compared. Whether it follows anatomy or
noise shows beside that: what is found from half of the image either explains the other half better, or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.optimise.data_term import DataTerm

# Blocks of so many cells are fitted to and left out in turn: wider than a cell and its features reach.
_BLOCK = 2
# Share that less smoothness must gain on what was left out to be worth anything, and to be right in full.
_LEAST_GAIN, _FULL_GAIN = 0.03, 0.05
# Weight of the smaller smoothness that is tried, where that of the larger one is 1.
_LESS = 0.35


def worth_of_freedom(gain: float) -> float:
    """Return how far a gain on cells left out speaks for less smoothness, 0 to 1."""
    return min(1.0, max(0.0, (gain - _LEAST_GAIN) / (_FULL_GAIN - _LEAST_GAIN)))


def held_out_gain(
    weight: Float[Tensor, "1 *s"],
    term: Callable[[Tensor], DataTerm],
    fit: Callable[[DataTerm, float], Tensor],
    smoothness: float,
) -> float:
    """Return by how much less smoothness lowers the data term on cells that it was not fitted to.

    Args:
        weight: (1, *S), the cells that count.
        term: gives the data term over the cells of a weight.
        fit: finds a displacement, (rank, *S) cells, by a data term and a weight of the regulariser.
        smoothness: weight of the regulariser that a third of it is compared with.

    Returns:
        The share of the data term that the smaller one saves, at most 1; below 0 where it loses, and 0 where
        there is nothing to compare.
    """
    fitted = checkerboard(weight.shape[1:], _BLOCK, device=weight.device)
    left_out = term(weight * ~fitted)
    own = term(weight * fitted)
    smooth, free = (float(left_out(fit(own, number))) for number in (smoothness, _LESS * smoothness))
    return 1 - free / smooth if smooth > 0 else 0.0


def checkerboard(shape: Sequence[int], block: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return (1, *shape) bool, True in every other block of so many cells along each axis."""
    parities = [(torch.arange(n, device=device) // block) % 2 == 1 for n in shape]
    axes = [p.view([-1 if a == axis else 1 for a in range(len(shape))]) for axis, p in enumerate(parities)]
    return reduce(torch.logical_xor, axes).expand(*shape)[None]
