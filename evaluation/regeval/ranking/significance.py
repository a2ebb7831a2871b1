"""Tests of whether one run is better than another on the same cases, for many comparisons at once.

Bootstrapping a ranking takes thousands of tests, so all of them are computed as arrays; scipy's own tests are
called one by one and serve as the reference in the unit tests.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

# Up to here the distribution of the signed rank sum is enumerated, ties included; beyond it is normal enough.
MAX_EXACT_CASES = 25
_CHUNK_VALUES = 4_000_000


def signed_rank_greater(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one-sided p-values of Wilcoxon's signed-rank test (Wilcoxon, 1945).

    Alternative: the differences are above 0. Differences of 0 are left out; equal magnitudes share their mean
    rank. Exact, given the ties, for at most 25 cases; else the normal approximation with Wilcoxon's variance
    under ties and no correction for continuity.

    Args:
        differences: (..., N) one value per case, finite.

    Returns:
        (...) p-values; 1 where all differences are 0.
    """
    flat = differences.reshape(-1, differences.shape[-1])
    p = np.ones(len(flat))
    step = max(1, _CHUNK_VALUES // (flat.shape[1] * (flat.shape[1] + 1) + 1))
    for start in range(0, len(flat), step):
        p[start : start + step] = _signed_rank_greater(flat[start : start + step])
    return p.reshape(differences.shape[:-1])


def rank_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return statistic and two-sided p-values of Wilcoxon's rank-sum test, as `scipy.stats.ranksums` does.

    Normal approximation without corrections for ties or continuity, like the Learn2Reg ranking.

    Args:
        a: (..., N) values of one run.
        b: (..., N) values of another.

    Returns:
        z (...), above 0 where `a` tends to be larger; p (...).
    """
    count_a, count_b = a.shape[-1], b.shape[-1]
    ranks = rankdata(np.concatenate([a, b], axis=-1), axis=-1)
    mean = count_a * (count_a + count_b + 1) / 2
    sigma = np.sqrt(count_a * count_b * (count_a + count_b + 1) / 12)
    z = (ranks[..., :count_a].sum(axis=-1) - mean) / sigma
    return z, 2 * norm.sf(np.abs(z))


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p-values for multiple comparisons (Holm, 1979).

    Args:
        p: (..., M), the M comparisons of one family along the last axis.

    Returns:
        (..., M) adjusted p-values, at most 1, in the order given.
    """
    order = np.argsort(p, axis=-1, kind="stable")
    factors = np.arange(p.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, -1) * factors, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1), -1)
    return adjusted


def _signed_rank_greater(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    nonzero = differences != 0
    # Zeros take part in the ranking as the smallest values, so that shifting by their number removes them.
    zeros = np.count_nonzero(~nonzero, axis=1)[:, None]
    ranks = np.where(nonzero, rankdata(np.abs(differences), axis=1) - zeros, 0)
    positive = np.where(differences > 0, ranks, 0).sum(axis=1)
    if differences.shape[1] <= MAX_EXACT_CASES:
        return _exact_tail(ranks, positive)
    spread = np.sqrt((ranks**2).sum(axis=1)) / 2
    z = np.divide(positive - ranks.sum(axis=1) / 2, spread, out=np.zeros_like(positive), where=spread > 0)
    return np.where(spread > 0, norm.sf(z), 1.0)


def _exact_tail(ranks: NDArray[np.float64], positive: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return P(W >= positive), W the sum of a random half of the ranks: each is in or out with 1/2."""
    doubled = np.rint(2 * ranks).astype(np.intp)  # mean ranks are multiples of one half
    size = int(doubled.sum(axis=1).max(initial=0)) + 1
    sums = np.arange(size)
    rows = np.arange(len(ranks))[:, None]
    probability = np.zeros((len(ranks), size))
    probability[:, 0] = 1
    for column in doubled.T:
        source = sums - column[:, None]
        moved = np.where(source >= 0, probability[rows, np.maximum(source, 0)], 0)
        probability = (probability + moved) / 2
    tail = np.where(sums >= np.rint(2 * positive)[:, None], probability, 0).sum(axis=1)
    return np.asarray(np.minimum(tail, 1))
