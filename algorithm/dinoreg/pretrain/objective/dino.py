"""Self-distillation: a student predicts which prototypes its teacher, an average of it, assigns.

After Caron et al. 2021 (DINO), Zhou et al. 2022 (iBOT) and Oquab et al. 2024 (DINOv2), with places in
register instead of patches: teacher and student see the same anatomy in two contrasts and two geometries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinoreg.pretrain.settings import DinoSettings

_SINKHORN_ROUNDS = 3
_CENTRE_MOMENTUM = 0.9
_BOTTLENECK = 64


class PrototypeHead(nn.Module):
    """Features to scores of prototypes: an MLP, a unit vector, weight-normed directions."""

    def __init__(self, channels: int, hidden: int, prototypes: int) -> None:
        """Build a head of random weights."""
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, _BOTTLENECK),
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, _BOTTLENECK))
        self.register_buffer("centre", torch.zeros(prototypes))
        self.centre: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels) to (N, prototypes) cosines."""
        return F.normalize(self.mlp(features), dim=-1) @ F.normalize(self.prototypes, dim=-1).T


def assignments(scores: Tensor, temperature: float, settings: DinoSettings, head: nn.Module) -> Tensor:
    """Return the teacher's probabilities, kept from collapsing on few prototypes.

    Args:
        scores: (N, prototypes).
        temperature: sharpness.
        settings: "sinkhorn" spreads the rows of the batch evenly (Caron et al. 2020, SwAV); "mean" subtracts
            the running mean of the scores. So do fewer rows than prototypes: they cannot be spread evenly
            without becoming flat.
        head: of the teacher; holds the running mean.
    """
    if not len(scores):  # views without a point in common
        return scores
    if settings.centring == "mean" or len(scores) < scores.shape[1]:
        assert isinstance(head, PrototypeHead)
        probabilities = ((scores - head.centre) / temperature).softmax(dim=1)
        head.centre.mul_(_CENTRE_MOMENTUM).add_(scores.mean(dim=0), alpha=1 - _CENTRE_MOMENTUM)
        return probabilities
    spread: Tensor = ((scores - scores.max()) / temperature).exp()
    for _ in range(_SINKHORN_ROUNDS):
        spread = spread / spread.sum(dim=0, keepdim=True).clamp(min=1e-12) / spread.shape[1]
        spread = spread / spread.sum(dim=1, keepdim=True).clamp(min=1e-12) / spread.shape[0]
    spread *= spread.shape[0]
    return spread


def cross_entropy(
    targets: Tensor, scores: Tensor, temperature: float, weight: Tensor | None = None
) -> Tensor:
    """Return the mean over the rows of the cross-entropy of targets and softmax(scores / temperature)."""
    rows = -(targets * (scores / temperature).log_softmax(dim=1)).sum(dim=1)
    if weight is None:
        return rows.mean()
    return (rows * weight).sum() / weight.sum().clamp(min=1)


def koleo(features: Tensor) -> Tensor:
    """Return -mean log of each row's distance to its nearest other row (Sablayrolles et al. 2019, eq. 4).

    Args:
        features: (V, C), two rows or more.
    """
    unit = F.normalize(features.float(), dim=1)
    likeness = unit @ unit.T
    nearest = likeness.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -2).argmax(
        dim=1
    )
    distance: Tensor = (unit - unit[nearest]).norm(dim=1).clamp(min=1e-8)
    return -distance.log().mean()


def schedule(bounds: Sequence[float], progress: float) -> float:
    """Return the value between two bounds at a progress in [0, 1]; it stays at the last one afterwards."""
    first, last = bounds
    return first + (last - first) * min(1.0, max(0.0, progress))
