"""The ranking itself, and how much it depends on which cases happened to be tested."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from regeval.ranking.metric_direction import Component
from regeval.ranking.runs import Results
from regeval.ranking.schemes import ALPHA, Scheme

# Bootstrap samples that are tested at once: bounds the memory.
_BATCH = 100
_INTERVAL = (0.025, 0.975)
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of the leaderboard.

    Attributes:
        run: name.
        rank: 1 is the best; equal scores share a rank; None for a reference, which is never ranked.
        interval: the ranks between which 95 % of the bootstrap samples lie; None without a bootstrap.
        score: final score; "l2r" 0.1 to 1, "wilcoxon-holm" up to 100.
        metric_scores: metric -> score.
        components: component -> score after cap and gate; empty for "l2r".
        passed: whether it passes the gate; None where there is none.
        means: metric -> mean over the cases that have a number, in the metric's unit; nan where none has.
        without_number: metric -> how many cases have no number and count as worst.
    """

    run: str
    rank: int | None
    interval: tuple[int, int] | None
    score: float
    metric_scores: Mapping[str, float]
    components: Mapping[Component, float]
    passed: bool | None
    means: Mapping[str, float]
    without_number: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Leaderboard:
    """A ranking, with everything its page shows.

    Attributes:
        standings: best first, references last; equal ranks by their means, the first metric's first.
        wins: metric -> (R, R) in the order of `results.runs`, True where the row beats the column.
        bootstrap: number of samples.
        reference: run that the gate compares with; None without a gate.
        seed: of the bootstrap.
    """

    results: Results
    scheme: Scheme
    standings: tuple[Standing, ...]
    wins: Mapping[str, NDArray[np.bool_]]
    bootstrap: int
    seed: int
    reference: str | None

    def warnings(self) -> tuple[str, ...]:
        """Return what a reader has to know before believing the order."""
        cases, runs = len(self.results.cases), len(self.results.runs)
        texts = [
            f"{run}: {len(stand_ins)} of {cases} cases had no usable field and are scored as "
            f"{self.results.missing}: {_some(list(stand_ins))}"
            for run, stand_ins in self.results.stand_ins.items()
        ]
        if self.scheme.method == "wilcoxon-holm":
            smallest = runs * (runs - 1) * 0.5**cases
            if smallest >= ALPHA:
                texts.append(
                    f"{cases} cases cannot tell {runs} runs apart: the smallest p-value that can occur is "
                    f"{smallest:.2g} after Holm's correction, so no difference counts; rank fewer runs or "
                    "more cases"
                )
            if self.reference is None:
                texts.append("no gate: no run is the reference (name one with --reference)")
        elif not self.scheme.can_decide(cases):
            texts.append(
                f"{cases} cases cannot tell any two runs apart by the {self.scheme.test} test: even where "
                "one run is better in every case the difference does not count; rank more cases"
            )
        return tuple(texts)


def rank_runs(
    results: Results,
    scheme: Scheme,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    reference: str | None = None,
    unranked: Collection[str] = (),
) -> Leaderboard:
    """Rank runs.

    Args:
        results: the runs on the same cases.
        scheme: how; its metrics are those of `results`.
        bootstrap: how many times the cases are drawn again, with replacement and alike for all runs, for the
            intervals of the ranks; 0 for none.
        seed: of the draws.
        reference: name of the run that the gate of "wilcoxon-holm" compares with; None for no gate.
        unranked: names of runs that are compared and scored but take no rank.
    """
    goodness = results.goodness()
    row = None if reference is None else results.runs.index(reference)
    wins = scheme.wins(goodness)
    scores = scheme.metric_scores(wins)
    passed = None if row is None else scheme.gate(wins, row)
    totals = scheme.totals(scores, passed)
    components = {} if scheme.method == "l2r" else scheme.component_scores(scores, passed)
    outside = np.isin(results.runs, list(unranked))
    ranks = _ranks(totals, outside)
    samples = _bootstrap_ranks(goodness, scheme, row, outside, bootstrap, seed)
    finite = np.isfinite(results.values)
    names = [metric.name for metric in results.metrics]
    standings = [
        Standing(
            run=run,
            rank=None if outside[number] else int(ranks[number]),
            interval=None if samples is None or outside[number] else _interval(samples[:, number]),
            score=float(totals[number]),
            metric_scores=dict(zip(names, scores[:, number].tolist(), strict=True)),
            components={name: float(values[number]) for name, values in components.items()},
            passed=None if passed is None else bool(passed[number]),
            means={
                name: float(values[number][there[number]].mean()) if there[number].any() else float("nan")
                for name, values, there in zip(names, results.values, finite, strict=True)
            },
            without_number={
                name: int((~there[number]).sum()) for name, there in zip(names, finite, strict=True)
            },
        )
        for number, run in enumerate(results.runs)
    ]
    return Leaderboard(
        results=results,
        scheme=scheme,
        standings=tuple(sorted(standings, key=lambda standing: _order(standing, results))),
        wins=dict(zip(names, wins, strict=True)),
        bootstrap=bootstrap,
        seed=seed,
        reference=reference,
    )


def _some(names: Sequence[str]) -> str:
    """Return the first few names."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def _order(standing: Standing, results: Results) -> tuple[float, ...]:
    """Return the key of a line: the rank, then the means in the order of the metrics, better ones first."""
    means = [
        -standing.means[metric.name] if metric.higher_is_better else standing.means[metric.name]
        for metric in results.metrics
    ]
    return (
        np.inf if standing.rank is None else standing.rank,
        *(np.inf if np.isnan(mean) else mean for mean in means),
    )


def _bootstrap_ranks(
    goodness: NDArray[np.float64],
    scheme: Scheme,
    reference: int | None,
    outside: NDArray[np.bool_],
    count: int,
    seed: int,
) -> NDArray[np.intp] | None:
    """Repeat the whole procedure on drawn cases; (count, R) ranks."""
    if count < 1:
        return None
    cases = goodness.shape[-1]
    draws = np.random.default_rng(seed).integers(cases, size=(count, cases))
    batches = []
    for start in range(0, count, _BATCH):
        sample = np.moveaxis(goodness[..., draws[start : start + _BATCH]], 2, 1)  # (M, B, R, N)
        wins = scheme.wins(sample)
        passed = None if reference is None else scheme.gate(wins, reference)
        batches.append(_ranks(scheme.totals(scheme.metric_scores(wins), passed), outside))
    return np.concatenate(batches)


def _ranks(totals: NDArray[np.float64], outside: NDArray[np.bool_]) -> NDArray[np.intp]:
    totals = np.where(outside, -np.inf, totals)  # below all that are ranked, so that no rank is left free
    # Rounded, since the order of a sum must not decide between equal scores.
    return np.asarray(rankdata(-np.round(totals, 9), method="min", axis=-1), dtype=np.intp)


def _interval(ranks: NDArray[np.intp]) -> tuple[int, int]:
    low, high = np.quantile(ranks, _INTERVAL, method="inverted_cdf")
    return int(low), int(high)
