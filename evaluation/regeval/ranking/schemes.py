"""Ways to turn significant differences into a score; none knows no metric's unit.

Arrays begin with any number of axes (bootstrap samples), written `...`: goodness (..., R, N) of R runs on N
cases, larger is better; wins (..., R, R), True where the run of the row is significantly better than that of
the column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from regeval.ranking.metric_direction import Component, Metric
from regeval.ranking.significance import holm, rank_sum, signed_rank_greater

Method = Literal["l2r", "learn2reg", "wilcoxon-holm", "psmareg"]
Test = Literal["rank-sum", "signed-rank"]

ALPHA = 0.05
# Share of the components where a user gives none: those of PSMAReg (Learn2Reg 2026), which has no run time.
COMPONENT_WEIGHTS: Mapping[Component, float] = {
    "accuracy": 0.4,
    "biomarker": 0.4,
    "regularity": 0.2,
    "runtime": 0.2,
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How runs are ranked.

    Attributes:
        method: "l2r" and "learn2reg" count losses, "wilcoxon-holm" and "psmareg" count wins; those named
            after a challenge have its columns and samples, see `regeval.ranking.challenges`.
        metrics: the columns.
        weights: one per metric; relative within its component where wins count.
        components: weight of each component, where wins count.
        test: the test of "l2r"; the rank sum in the code of the challenge, the signed rank in its readme.
    """

    method: Method
    metrics: tuple[Metric, ...]
    weights: tuple[float, ...]
    components: Mapping[Component, float]
    test: Test = "rank-sum"

    @property
    def counts_wins(self) -> bool:
        """Whether runs are scored by whom they beat, in components, with cap and gate."""
        return self.method in ("wilcoxon-holm", "psmareg")

    @property
    def references_compete(self) -> bool:
        """Whether beating a reference counts; PSMAReg compares the teams among themselves."""
        return self.method != "psmareg"

    def wins(self, goodness: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Return who is significantly better than whom, (M, ..., R, R), from one (..., R, N) per metric."""
        if self.counts_wins:
            return np.stack([_holm_wins(values) for values in goodness])
        return np.stack([_l2r_wins(values, self.test) for values in goodness])

    def can_decide(self, cases: int) -> bool:
        """Return whether two runs on so many cases count as different where they differ as much as can be."""
        worse = np.arange(cases, dtype=np.float64)
        return bool(self.wins([np.stack([cases + 2 * worse, worse])]).any())

    def metric_scores(self, wins: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the score of each run per metric, above 0 and at most 1: (M, ..., R) from (M, ..., R, R)."""
        if self.counts_wins:
            return np.asarray((wins.sum(axis=-1) + 1) / wins.shape[-1])
        losses = wins.sum(axis=-2)
        places = rankdata(-losses, method="average", axis=-1)  # 1 is the worst
        return np.asarray(0.1 + 0.9 * (places - 1) / max(1, wins.shape[-1] - 1))

    def totals(
        self, scores: NDArray[np.float64], passed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the final scores, (..., R), from those per metric, (M, ..., R).

        Args:
            scores: of `metric_scores`.
            passed: (..., R), which runs pass the gate; None lets all pass.
        """
        if not self.counts_wins:
            return geometric_mean(scores, self.weights)
        present = self.component_names()
        by_component = self.component_scores(scores, passed)
        weights = [self.components[name] for name in present]
        return 100 * geometric_mean(np.stack([by_component[name] for name in present]), weights)

    def component_names(self) -> tuple[Component, ...]:
        """Return the components that have metrics, accuracy first."""
        used = {metric.component for metric in self.metrics}
        return tuple(name for name in COMPONENT_WEIGHTS if name in used)

    def component_scores(
        self, scores: NDArray[np.float64], passed: NDArray[np.bool_] | None
    ) -> dict[Component, NDArray[np.float64]]:
        """Return the score of each component, (..., R), capped and gated.

        Not moving at all is perfectly regular and takes no time. So those components cannot score more than
        accuracy (cap), and score the least possible for a run that is not clearly more accurate than the
        reference (gate): Learn2Reg 2026, PSMAReg.
        """
        result: dict[Component, NDArray[np.float64]] = {}
        for name in self.component_names():
            rows = [number for number, metric in enumerate(self.metrics) if metric.component == name]
            weights = np.array([self.weights[row] for row in rows])
            result[name] = np.tensordot(weights / weights.sum(), scores[rows], axes=1)
        for name in result:
            if name != "accuracy" and "accuracy" in result:
                capped = np.minimum(result[name], result["accuracy"])
                result[name] = capped if passed is None else np.where(passed, capped, 1 / scores.shape[-1])
        return result

    def gate(self, wins: NDArray[np.bool_], reference: int) -> NDArray[np.bool_]:
        """Tell which runs beat a reference on half of the accuracy metrics or more; the reference does not.

        Args:
            wins: (M, ..., R, R).
            reference: index of the reference among the runs.

        Returns:
            (..., R).
        """
        rows = [number for number, metric in enumerate(self.metrics) if metric.component == "accuracy"]
        return self._beats_enough(wins[rows][..., reference])

    def gate_outside(
        self, goodness: Sequence[NDArray[np.float64]], reference: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.bool_]:
        """Tell the same where the reference is none of the runs; Holm's correction is over the runs.

        Args:
            goodness: one (..., R, N) per metric.
            reference: one (..., N) per metric.
        """
        beaten = [
            holm(signed_rank_greater(runs - one[..., None, :])) < ALPHA
            for runs, one, metric in zip(goodness, reference, self.metrics, strict=True)
            if metric.component == "accuracy"
        ]
        return self._beats_enough(np.stack(beaten))

    @staticmethod
    def _beats_enough(beaten: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(beaten.sum(axis=0) >= max(1, -(-len(beaten) // 2)))


def geometric_mean(scores: NDArray[np.float64], weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the weighted geometric mean over the first axis; scores are above 0."""
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    return np.exp(np.tensordot(shares, np.log(scores), axes=1))


def _l2r_wins(goodness: NDArray[np.float64], test: Test) -> NDArray[np.bool_]:
    count = goodness.shape[-2]
    wins = np.zeros((*goodness.shape[:-1], count), dtype=np.bool_)
    one, other = np.triu_indices(count, 1)
    a, b = goodness[..., one, :], goodness[..., other, :]
    if not goodness.shape[-1]:
        return wins  # a bootstrap sample without any of the hardest
    if test == "rank-sum":
        z, p = rank_sum(a, b)
        wins[..., one, other] = (z > 0) & (p < ALPHA)
        wins[..., other, one] = (z < 0) & (p < ALPHA)
    else:  # the same level on either side: two-sided, and the side that is better
        wins[..., one, other] = 2 * signed_rank_greater(a - b) < ALPHA
        wins[..., other, one] = 2 * signed_rank_greater(b - a) < ALPHA
    return wins


def _holm_wins(goodness: NDArray[np.float64]) -> NDArray[np.bool_]:
    count = goodness.shape[-2]
    one, other = np.nonzero(~np.eye(count, dtype=np.bool_))
    p = signed_rank_greater(goodness[..., one, :] - goodness[..., other, :])
    wins = np.zeros((*goodness.shape[:-1], count), dtype=np.bool_)
    wins[..., one, other] = holm(p) < ALPHA
    return wins
