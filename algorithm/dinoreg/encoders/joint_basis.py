"""The basis that the features of two volumes have in common, fitted to their foregrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dinoreg.encoders.pca import PcaBasis


@dataclass(frozen=True, slots=True)
class PcaFacts:
    """How a joint PCA came out.

    Attributes:
        foreground_share: share of foreground above which cells counted; None where all did.
        explained_variance: share of each component.
        explained_variance_sum: of all that were kept.
        pca_seconds: for basis and projection.
    """

    foreground_share: float | None
    explained_variance: tuple[float, ...]
    explained_variance_sum: float
    pca_seconds: float


def pca_facts(basis: PcaBasis, above: float | None, seconds: float) -> PcaFacts:
    """Return the facts of a basis."""
    return PcaFacts(
        foreground_share=above,
        explained_variance=tuple(round(share, 5) for share in basis.explained.tolist()),
        explained_variance_sum=round(float(basis.explained.sum()), 5),
        pca_seconds=round(seconds, 3),
    )


def share_needed(shares: Sequence[Tensor], components: int, candidates: Sequence[float]) -> float | None:
    """Return the share of foreground above which cells count: the first that leaves enough of both volumes.

    Args:
        shares: foreground share of every cell or patch, for each volume.
        components: so many cells at least have to count in each.
        candidates: to be tried in this order.

    Returns:
        None where masks are so small that everything has to count.
    """
    enough = (a for a in candidates if all(int((share > a).sum()) >= components for share in shares))
    return next(enough, None)


def counting(share: Tensor, above: float | None) -> Tensor:
    """Tell which cells count, bool of the shape of `share`."""
    return share > above if above is not None else share >= 0
