"""Exhaustive search for a translation over the whole field of view."""

from __future__ import annotations

import torch
from torch import Tensor

from dinoreg.space.features import Features


def search_translation(fixed: Features, moving: Features, *, min_overlap: float) -> Tensor:
    """Return the whole-cell translation with the smallest mean feature distance over the common foreground.

    All translations are compared at once: the weighted sum of squared differences is three kinds of
    cross-correlation, computed by FFT (after Padfield 2012, "Masked object registration in the Fourier
    domain").

    Args:
        fixed: features and foreground.
        moving: on the same lattice.
        min_overlap: least common foreground, as a share of the smaller foreground.

    Returns:
        (rank,) cells, fixed to moving.
    """
    rank = fixed.values.ndim - 1
    size = [a + b - 1 for a, b in zip(fixed.lattice.shape, moving.lattice.shape, strict=True)]
    axes = tuple(range(1, rank + 1))

    def correlate(a: Tensor, b: Tensor) -> Tensor:
        """sum_x a(x) b(x + t), summed over the channels, for every t (negative t wrapped)."""
        spectrum = torch.fft.rfftn(a, s=size, dim=axes).conj() * torch.fft.rfftn(b, s=size, dim=axes)
        product: Tensor = torch.fft.irfftn(spectrum.sum(dim=0, keepdim=True), s=size, dim=axes)[0]
        return product

    overlap = correlate(fixed.weight, moving.weight)
    distance = (
        correlate(fixed.weight * fixed.values.square().sum(dim=0, keepdim=True), moving.weight)
        + correlate(fixed.weight, moving.weight * moving.values.square().sum(dim=0, keepdim=True))
        - 2 * correlate(fixed.weight * fixed.values, moving.weight * moving.values)
    )
    least = min_overlap * min(float(fixed.weight.sum()), float(moving.weight.sum()))
    mean = torch.where(overlap >= max(least, 1e-3), distance / overlap.clamp(min=1e-3), float("inf"))
    if not bool(torch.isfinite(mean).any()):
        return fixed.values.new_zeros(rank)
    best = int(mean.argmin())
    index = torch.unravel_index(torch.tensor(best), size)
    shift = [
        int(i) if int(i) < n else int(i) - s
        for i, n, s in zip(index, moving.lattice.shape, size, strict=True)
    ]
    return torch.tensor(shift, dtype=fixed.values.dtype, device=fixed.values.device)
