"""Paired tests of two runs on the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.metric_direction import Metric
from regeval.ranking.results import Results, compare
from regeval.ranking.runs import Run
from regeval.ranking.schemes import ALPHA
from regeval.ranking.significance import holm, signed_rank_greater


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """How two runs differ on one metric.

    Attributes:
        metric: the metric.
        unit: its unit; empty where it has none.
        values: (2, N) of the first and the second run; nan where there is no number.
        better: (N,) 1 where the first is better, -1 where the second is, 0 where they are equal; having a
            number is better than having none.
        means: of both, over the cases where both have a number; nan where there are none.
        median_change: median of second minus first over the same cases.
        p: of Wilcoxon's signed-rank test, two-sided.
        corrected: p after Holm's correction over all metrics.
        leaning: above 0 where the ranks speak for the first run, below 0 for the second.
    """

    metric: Metric
    unit: str
    values: NDArray[np.float64]
    better: NDArray[np.intp]
    means: tuple[float, float]
    median_change: float
    p: float
    corrected: float
    leaning: float

    @property
    def winner(self) -> int | None:
        """0 or 1 for the run that is significantly better, None where chance could be the reason.

        The test goes by ranks, so the side with the larger ranks wins, not the larger mean.
        """
        return None if self.corrected >= ALPHA else 0 if self.leaning > 0 else 1


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two runs.

    Attributes:
        results: of both, on all cases.
        differences: one per metric.
    """

    results: Results
    differences: tuple[Difference, ...]

    def warnings(self) -> tuple[str, ...]:
        """Return what a reader has to know."""
        cases, count = len(self.results.cases), len(self.differences)
        texts = [
            f"{run}: {len(of)} of {cases} cases had no usable field and are scored as {self.results.missing}"
            for run, of in self.results.stand_ins.items()
        ]
        smallest = 2 * 0.5**cases * count
        if smallest >= ALPHA:
            texts.append(
                f"{cases} cases cannot tell two runs apart on {count} metrics: the smallest p-value that can "
                f"occur is {min(1.0, smallest):.2g} after Holm's correction; compare more cases or "
                "fewer metrics"
            )
        return tuple(texts)


def compare_two(first: Run, second: Run, wanted: Sequence[str] = ()) -> Comparison:
    """Compare two runs case by case.

    Args:
        first: one run.
        second: the other, on the same cases by the same rules.
        wanted: the metrics; none takes those that the evaluations were asked for.

    Raises:
        DataError: the runs do not compare.
    """
    results = compare([first, second], wanted)
    change = np.stack([goodness[0] - goodness[1] for goodness in results.goodness()])  # (M, N)
    better_p, worse_p = signed_rank_greater(change), signed_rank_greater(-change)
    p = np.minimum(1, 2 * np.minimum(better_p, worse_p))
    corrected = holm(p)
    differences = []
    for number, metric in enumerate(results.metrics):
        values = results.values[number]
        both = values[:, np.isfinite(values).all(axis=0)]
        means = both.mean(axis=1) if both.size else np.full(2, np.nan)
        differences.append(
            Difference(
                metric=metric,
                unit=results.units.get(metric.name, ""),
                values=values,
                better=np.sign(change[number]).astype(np.intp),
                means=(float(means[0]), float(means[1])),
                median_change=float(np.median(both[1] - both[0])) if both.size else float("nan"),
                p=float(p[number]),
                corrected=float(corrected[number]),
                leaning=float(worse_p[number] - better_p[number]),
            )
        )
    return Comparison(results, tuple(differences))
