"""The same place in two contrasts against other places of the same anatomy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_FAR_BELOW = -1e4


def contrastive_loss(
    first: Tensor, second: Tensor, places: Tensor, *, temperature: float, ignored_voxels: float
) -> Tensor:
    """Return InfoNCE in both directions (van den Oord et al. 2018, eq. 4), nats per point.

    Args:
        first: (N, C) features of the points in one view.
        second: (N, C), of the same points in the other.
        places: (N, 3) voxels of one view, where the points lie.
        temperature: divides the cosine.
        ignored_voxels: points nearer than this to a point are not among those it must differ from.
    """
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    near = torch.cdist(places, places) < ignored_voxels
    near.fill_diagonal_(fill_value=False)
    logits = logits.masked_fill(near, _FAR_BELOW)
    same = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


@torch.no_grad()
def retrieval(first: Tensor, second: Tensor, places: Tensor) -> Tensor:
    """Look for every point of the second view among those of the first.

    Args:
        first: (N, C).
        second: (N, C).
        places: (N, 3), where the points lie.

    Returns:
        (N,) distance between the place found and the true one, in units of `places`.
    """
    likeness = F.normalize(second, dim=1) @ F.normalize(first, dim=1).T
    distance: Tensor = (places[likeness.argmax(dim=1)] - places).norm(dim=1)
    return distance
