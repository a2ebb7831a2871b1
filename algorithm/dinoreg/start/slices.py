"""Start from matching slices: which slice of one image looks like which slice of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from dinoreg.encoders.features import Features


def slice_descriptors(features: Features, axis: int) -> tuple[Tensor, Tensor]:
    """Describe every slice across `axis` by the mean and spread of its foreground features.

    Args:
        features: (C, *S).
        axis: spatial axis, 0 the first.

    Returns:
        (n, 2 C) descriptors and (n,) bool, which slices have foreground (at least 5 % of the fullest one).
    """
    values = features.values.movedim(axis + 1, 0).flatten(2)  # (n, C, cells)
    weight = features.weight.movedim(axis + 1, 0).flatten(2)  # (n, 1, cells)
    total = weight.sum(dim=2)
    mean = (values * weight).sum(dim=2) / total.clamp(min=1e-6)
    variance = ((values - mean.unsqueeze(2)).square() * weight).sum(dim=2) / total.clamp(min=1e-6)
    return torch.cat([mean, variance.sqrt()], dim=1), total[:, 0] >= 0.05 * total.max()


def slice_distances(fixed: Tensor, moving: Tensor) -> Tensor:
    """Return the (n_fixed, n_moving) Euclidean distances of descriptors, each channel standardised."""
    both = torch.cat([fixed, moving])
    spread = both.std(dim=0).clamp(min=1e-6)
    return torch.cdist((fixed - both.mean(dim=0)) / spread, (moving - both.mean(dim=0)) / spread)


def match_slices(
    distances: Tensor, fixed_valid: Tensor, moving_valid: Tensor, *, closest: int, robust: bool
) -> float:
    """Return the shift in slices, fixed to moving, from the closest pairs of slices.

    Song et al. 2024 (DINO-Reg), section 2.2: the mean index difference of the `closest` pairs with the
    smallest distance. The robust variant takes, over all shifts, the one whose pairs of slices are closest
    on average, so that one look-alike pair cannot decide.

    Args:
        distances: (n, m).
        fixed_valid: (n,) bool; others take no part.
        moving_valid: (m,) bool.
        closest: number of pairs.
        robust: use the shift with the smallest mean distance instead.
    """
    allowed = fixed_valid.unsqueeze(1) & moving_valid.unsqueeze(0)
    if not bool(allowed.any()):
        return 0.0
    n, m = distances.shape
    shift = torch.arange(m, device=distances.device) - torch.arange(n, device=distances.device).unsqueeze(1)
    if not robust:
        masked = distances.masked_fill(~allowed, float("inf")).flatten()
        chosen = masked.topk(min(closest, int(allowed.sum())), largest=False).indices
        return float(shift.flatten()[chosen].double().mean())
    least = 0.5 * min(int(fixed_valid.sum()), int(moving_valid.sum()))
    best, best_shift = float("inf"), 0
    for candidate in range(-n + 1, m):
        taken = allowed & (shift == candidate)
        count = int(taken.sum())
        if count >= max(1.0, least):
            mean = float(distances[taken].mean())
            if mean < best:
                best, best_shift = mean, candidate
    return float(best_shift)
