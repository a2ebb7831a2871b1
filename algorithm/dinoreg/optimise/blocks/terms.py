"""Data terms of many channels, some channels at a time: the same number with a share of the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dinoreg.optimise.data_term import DataTerm, ssd_term, warp_and_compare
from dinoreg.optimise.similarity import lcc, lcc_floor
from dinoreg.space.displaced import in_reading_order
from dinoreg.space.features import FeaturePair


def ssd_by_blocks(pair: FeaturePair, channels: int, *, weight: Tensor | None) -> DataTerm:
    """Return the squared distance of a pair, so many channels at a time.

    Args:
        pair: features on one lattice.
        channels: at a time.
        weight: (1, *S), the cells that count, or None.
    """
    blocks = zip(
        torch.split(pair.fixed.values, channels), torch.split(pair.moving.values, channels), strict=True
    )
    return sum_in_turn([ssd_term(fixed, moving, weight=weight) for fixed, moving in blocks])


def lcc_by_blocks(
    pair: FeaturePair, channels: int, *, window: int, weight: Tensor | None, keep: bool = True
) -> DataTerm:
    """Return the weighted mean of the parts' local correlations, so many channels at a time.

    A correlation does not see the scale that a part was given, so that the shares of the parts weigh it.

    Args:
        pair: features on one lattice.
        channels: at a time, at most.
        window: of the correlation, cells.
        weight: (1, *S), the cells that count, or None.
        keep: keep the means and variances of fixed and a copy of moving, four numbers for each value;
            else they are made anew for every evaluation, which takes longer.
    """

    def term(block: slice, share: float, floor: Tensor) -> DataTerm:
        fixed, moving = pair.fixed.values[block], pair.moving.values[block]
        if keep:  # side by side in memory, where they lie among those of all channels
            moving = in_reading_order(moving)

        def make() -> DataTerm:
            found = warp_and_compare(lcc(fixed, window=window, floor=floor), moving, weight=weight)
            return lambda displacement: share * found(displacement)

        return make() if keep else _made_anew(make)

    terms = []
    for share, of_part in _slices(pair):
        floor = lcc_floor(pair.fixed.values[of_part], window=window, channels=channels)
        for start in range(of_part.start, of_part.stop, channels):
            block = slice(start, min(start + channels, of_part.stop))
            of_all = (block.stop - block.start) / (of_part.stop - of_part.start)
            terms.append(term(block, share * of_all, floor))
    return sum_in_turn(terms)


def _made_anew(make: Callable[[], DataTerm]) -> DataTerm:
    return lambda displacement: make()(displacement)


def _slices(pair: FeaturePair) -> Iterator[tuple[float, slice]]:
    """Yield the share of every part and where its channels are."""
    start = 0
    for part in pair.parts:
        yield part.share, slice(start, start + part.channels)
        start += part.channels


def sum_in_turn(terms: Sequence[DataTerm]) -> DataTerm:
    """Return the sum of terms of one displacement.

    The gradient of a term is taken before the next one begins, so that what one needs for it is freed;
    nothing is computed twice. A single term comes back as it is.
    """
    if len(terms) == 1:
        return terms[0]

    def total(displacement: Tensor) -> Tensor:
        if not (displacement.requires_grad and torch.is_grad_enabled()):
            return torch.stack([term(displacement) for term in terms]).sum()
        found: Tensor = _SumInTurn.apply(displacement, tuple(terms))  # type: ignore[no-untyped-call]
        return found

    return total


class _SumInTurn(torch.autograd.Function):
    """The value and its gradient in one go."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, terms: tuple[DataTerm, ...]) -> Tensor:
        total, gradient = displacement.new_zeros(()), torch.zeros_like(displacement)
        for term in terms:
            with torch.enable_grad():
                own = displacement.detach().requires_grad_()
                value = term(own)
            gradient += torch.autograd.grad(value, own)[0]
            total = total + value.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0], None
