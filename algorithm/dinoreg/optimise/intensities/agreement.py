"""How far the intensities of two images can be compared, measured after a first registration.

Two scans of one modality can differ in scale, in contrast or locally, and two modalities can agree in part.
The description of a task does not tell; the images, once roughly aligned, do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.features import FeaturePair, Features, warp_features

_BINS = 48
# Share of the variance of fixed that a function of moving must explain to be trusted at all, and in full.
_LEAST_EXPLAINED, _FULLY_EXPLAINED = 0.33, 0.55
# Weight of intensities that are trusted in full, where that of MIND is 1.
_MOST = 2.0


@dataclass(frozen=True, slots=True)
class AgreementFacts:
    """How the intensities of moving relate to those of fixed; see `Agreement`."""

    intensities_explained: float
    intensities_correlation: float
    intensity_trust: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the intensities of moving relate to those of fixed.

    Attributes:
        explained: share of the variance of fixed that the best function of moving explains, 0 to 1
            (correlation ratio; Roche et al. 1998).
        correlation: of both as they are, -1 to 1.
        trust: what follows, 0 to 2: the weight of the intensities where that of MIND is 1.
        at: (n,) ascending intensities of moving.
        becomes: (n,) what they correspond to in fixed.
    """

    explained: float
    correlation: float
    trust: float
    at: Tensor
    becomes: Tensor

    @property
    def facts(self) -> AgreementFacts:
        """For the report."""
        return AgreementFacts(round(self.explained, 4), round(self.correlation, 4), round(self.trust, 4))

    def map(self, moving: Tensor) -> Tensor:
        """Turn intensities of moving into those of fixed, linear between the known ones."""
        if len(self.at) < 2:
            return moving
        high = torch.searchsorted(self.at, moving.contiguous()).clamp(1, len(self.at) - 1)
        low = high - 1
        share = ((moving - self.at[low]) / (self.at[high] - self.at[low])).clamp(0, 1)
        return torch.lerp(self.becomes[low], self.becomes[high], share)


def measure_agreement(
    fixed: Float[Tensor, "*s"], warped: Float[Tensor, "*s"], weight: Float[Tensor, "*s"]
) -> Agreement:
    """Measure how intensities correspond.

    Args:
        fixed: (*S).
        warped: (*S), moving where a first registration brought it.
        weight: (*S) in [0, 1], what both images show.
    """
    inside = weight > 0.5
    f, m = fixed[inside].double(), warped[inside].double()
    if len(f) < 10 * _BINS or not float(f.var()) > 0 or not float(m.var()) > 0:
        return Agreement(0.0, 0.0, 0.0, m.new_empty(0), m.new_empty(0))
    edges = torch.quantile(
        m[:: max(1, len(m) // 200_000)], torch.linspace(0, 1, _BINS + 1, dtype=m.dtype, device=m.device)
    )
    edges = torch.unique(edges)
    index = torch.bucketize(m, edges[1:-1])
    bins = max(1, len(edges) - 1)
    count = torch.bincount(index, minlength=bins).clamp(min=1)
    at = torch.bincount(index, weights=m, minlength=bins) / count
    becomes = torch.bincount(index, weights=f, minlength=bins) / count
    residual = (f - becomes[index]).square().mean() / f.var(unbiased=False)
    explained = float(1 - residual)
    correlation = float(torch.corrcoef(torch.stack([f, m]))[0, 1])
    trust = _MOST * (explained - _LEAST_EXPLAINED) / (_FULLY_EXPLAINED - _LEAST_EXPLAINED)
    kept = torch.ones_like(at, dtype=torch.bool)
    kept[1:] = at.diff() > 0
    dtype = fixed.dtype
    return Agreement(
        explained, correlation, min(_MOST, max(0.0, trust)), at[kept].to(dtype), becomes[kept].to(dtype)
    )


def compare_intensities(pair: FeaturePair, displacement: Float[Tensor, "rank *s"]) -> Agreement:
    """Measure how the intensities among the features of a pair correspond.

    Args:
        pair: features on a lattice, of which one channel is `intensity`.
        displacement: (rank, *S) cells, of the stages so far.
    """
    channel = _channel_of_intensity(pair)
    warped = warp_features(replace(pair.moving, values=pair.moving.values[channel]), displacement)
    weight = pair.fixed.weight * warped.weight
    return measure_agreement(pair.fixed.values[channel][0], warped.values[0], weight[0])


def with_intensities_of_fixed(pair: FeaturePair, found: Agreement) -> FeaturePair:
    """Turn the intensities of moving into those that they correspond to in fixed."""
    channel = _channel_of_intensity(pair)
    values = pair.moving.values.clone()
    values[channel] = found.map(values[channel])
    return replace(pair, moving=replace(pair.moving, values=values))


def weigh_intensities(
    pair: FeaturePair, displacement: Float[Tensor, "rank *s"]
) -> tuple[FeaturePair, AgreementFacts]:
    """Give the channel of intensities the weight that the images show it to deserve.

    Args:
        pair: concatenated features on a lattice, of which one channel is `intensity` and others are not.
        displacement: (rank, *S) cells, of the stages so far.
    """
    found = compare_intensities(pair, displacement)
    weights = [found.trust if part.encoder == "intensity" else 1.0 for part in pair.parts]
    mapped = with_intensities_of_fixed(pair, found) if found.trust else pair
    return mapped.on(pair.fixed.lattice, weights), found.facts


def _channel_of_intensity(pair: FeaturePair) -> slice:
    number = next(n for n, part in enumerate(pair.parts) if part.encoder == "intensity")
    channel = sum(part.channels for part in pair.parts[:number])
    return slice(channel, channel + 1)


def explained_by(fixed: Features, moving: Features, displacement: Tensor) -> float | None:
    """Return `Agreement.explained` of two images themselves, whatever features they were registered by.

    Args:
        fixed: intensities averaged over the cells of a lattice, one channel.
        moving: on the same lattice.
        displacement: (rank, *S) cells, of the whole registration.

    Returns:
        None where too few cells have content in both images, or one of them has no contrast there.
    """
    warped = warp_features(moving, displacement)
    found = measure_agreement(fixed.values[0], warped.values[0], (fixed.weight * warped.weight)[0])
    return found.explained if len(found.at) else None
