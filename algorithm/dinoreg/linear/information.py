"""How much two images tell of one another under a linear map, as one number with its gradient.

It is measured both ways. To read an image between its voxels blurs it, most where they are thick, and pulls
the optimum away from the truth; with the other image read, it is pulled the other way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dinoreg.linear.maps import Matrix, inverse
from dinoreg.space.kernels import histogram as _kernels
from dinoreg.space.kernels.threads import follow_torch_threads

_PARTS = 16  # histograms that are filled side by side
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Samples of a fixed image, and a moving image that is read at them.

    Attributes:
        points: (N, 3) float32, mm of fixed.
        fixed: (N,) float32, their values in bins, [0, bins - 1).
        moving: (I, J, K) float32 in bins, [1, bins - 2).
        to_index: (4, 4), mm of moving to its voxels.
        bins: of both images.
        reach: share of the points that moving can hold at most; below 1 where it sees less than the body of
            fixed.
    """

    points: NDArray[np.float32]
    fixed: NDArray[np.float32]
    moving: NDArray[np.float32]
    to_index: NDArray[np.float64]
    bins: int
    reach: float = 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """How well two images agree.

    Attributes:
        value: normalised mutual information, (H(F) + H(M)) / H(F, M) (Studholme et al. 1999), 1 where neither
            image tells anything of the other.
        inside: share of the samples that lie inside moving, of as many as can.
    """

    value: float
    inside: float


def information(comparison: Comparison, matrix: Matrix) -> Score:
    """Compare under a linear map, (4, 4) from mm of fixed to mm of moving."""
    joint, _, _ = _fill(comparison, matrix)
    total = float(joint.sum())
    if total < 1:
        return Score(1.0, 0.0)
    return Score(_entropies(joint / total)[0], _inside(comparison, total))


def information_gradient(comparison: Comparison, matrix: Matrix) -> tuple[Score, NDArray[np.float64]]:
    """Return what `information` does and its gradient by the entries of the matrix, (4, 4).

    Samples that enter or leave the moving image are taken to stay where they are.
    """
    joint, values, slopes = _fill(comparison, matrix)
    total = float(joint.sum())
    if total < 1:
        return Score(1.0, 0.0), np.zeros((4, 4))
    value, by_bin = _entropies(joint / total)
    parts = np.zeros((_PARTS, 3, 4), np.float64)
    table = (by_bin / total).astype(np.float32)
    _kernels.score_gradient(comparison.points, comparison.fixed, values, slopes, table, parts)
    gradient = np.zeros((4, 4))
    gradient[:3] = comparison.to_index[:3, :3].T @ parts.sum(axis=0)
    return Score(value, _inside(comparison, total)), gradient


@dataclass(frozen=True, slots=True, eq=False)
class BothWays:
    """Fixed compared with moving, and moving with fixed."""

    forward: Comparison
    backward: Comparison

    def score(self, matrix: Matrix) -> Score:
        """Compare under a map: the mean of both ways, and the smaller share inside."""
        return _mean(information(self.forward, matrix), information(self.backward, inverse(matrix)))

    def score_gradient(self, matrix: Matrix) -> tuple[Score, NDArray[np.float64]]:
        """Return the score and its gradient by the entries of the map, (4, 4)."""
        back = inverse(matrix)
        there, along = information_gradient(self.forward, matrix)
        home, against = information_gradient(self.backward, back)
        # d(inverse) = -inverse d(matrix) inverse
        return _mean(there, home), 0.5 * (along - back.T @ against @ back.T)


def _fill(
    comparison: Comparison, matrix: Matrix
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Return the joint histogram, and each sample's value and slopes in moving."""
    count = len(comparison.points)
    histograms = np.zeros((_PARTS, comparison.bins, comparison.bins), np.float32)
    values, slopes = np.empty(count, np.float32), np.empty((count, 3), np.float32)
    to_voxels = (comparison.to_index @ matrix)[:3].astype(np.float32)
    follow_torch_threads()
    _kernels.joint_histogram(
        comparison.points, comparison.fixed, comparison.moving, to_voxels, histograms, values, slopes
    )
    return histograms.sum(axis=0, dtype=np.float64), values, slopes


def _inside(comparison: Comparison, total: float) -> float:
    return min(1.0, total / len(comparison.points) / comparison.reach)


def _entropies(joint: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Normalised mutual information of a joint distribution, and its derivative by each entry."""
    fixed, moving = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    log_fixed, log_moving, log_joint = (np.log(p + _TINY) for p in (fixed, moving, joint))
    alone = -float((fixed * log_fixed).sum() + (moving * log_moving).sum())
    together = max(-float((joint * log_joint).sum()), _TINY)
    value = alone / together
    return value, -(log_fixed + log_moving + 2) / together + value * (log_joint + 1) / together


def _mean(there: Score, back: Score) -> Score:
    return Score(0.5 * (there.value + back.value), min(there.inside, back.inside))
