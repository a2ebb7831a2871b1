"""The ranking itself, and how much it depends on which cases happened to be tested."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from regeval.ranking.leaderboard import Leaderboard, Standing
from regeval.ranking.metric_direction import Component
from regeval.ranking.results import Results
from regeval.ranking.schemes import Scheme

Goodness = Sequence[NDArray[np.float64]]

# Bootstrap samples that are tested at once: bounds the memory.
_BATCH = 100
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Scores of runs, each with leading axes `...` of samples; nan for runs that do not compete."""

    wins: NDArray[np.bool_]  # (M, ..., R, R)
    scores: NDArray[np.float64]  # (M, ..., R)
    totals: NDArray[np.float64]  # (..., R)
    components: Mapping[Component, NDArray[np.float64]]
    passed: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """What stays the same over all samples.

    Attributes:
        scheme: how.
        gate: row of the run that the gate compares with, or None.
        outside: (R,) runs that take no rank.
    """

    scheme: Scheme
    gate: int | None
    outside: NDArray[np.bool_]

    def judge(self, goodness: Goodness) -> _Judged:
        """Score runs by one (..., R, S) per metric."""
        if self.scheme.references_compete:
            wins = self.scheme.wins(goodness)
            scores = self.scheme.metric_scores(wins)
            passed = None if self.gate is None else self.scheme.gate(wins, self.gate)
            return self._total(wins, scores, passed)
        inside = np.flatnonzero(~self.outside)
        teams = [values[..., inside, :] for values in goodness]
        wins = self.scheme.wins(teams)
        scores = self.scheme.metric_scores(wins)
        passed = None
        if self.gate is not None:
            passed = self.scheme.gate_outside(teams, [values[..., self.gate, :] for values in goodness])
        return self._among_all(self._total(wins, scores, passed), inside)

    def ranks(self, totals: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the ranks of totals (..., R), 1 the best, those outside behind all others."""
        totals = np.where(self.outside, -np.inf, totals)  # below all that are ranked: no rank is left free
        # Rounded, since the order of a sum must not decide between equal scores.
        return np.asarray(rankdata(-np.round(totals, 9), method="min", axis=-1), dtype=np.intp)

    def _total(
        self, wins: NDArray[np.bool_], scores: NDArray[np.float64], passed: NDArray[np.bool_] | None
    ) -> _Judged:
        components = self.scheme.component_scores(scores, passed) if self.scheme.counts_wins else {}
        return _Judged(wins, scores, self.scheme.totals(scores, passed), components, passed)

    def _among_all(self, judged: _Judged, inside: NDArray[np.intp]) -> _Judged:
        runs = len(self.outside)

        def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
            wide = np.full((*values.shape[:-1], runs), np.nan)
            wide[..., inside] = values
            return wide

        wins = np.zeros((*judged.wins.shape[:-2], runs, runs), dtype=np.bool_)
        wins[..., inside[:, None], inside] = judged.wins
        passed = None
        if judged.passed is not None:
            passed = np.zeros((*judged.passed.shape[:-1], runs), dtype=np.bool_)
            passed[..., inside] = judged.passed
        components = {name: spread(values) for name, values in judged.components.items()}
        return _Judged(wins, spread(judged.scores), spread(judged.totals), components, passed)


def rank_runs(
    results: Results,
    scheme: Scheme,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    reference: str | None = None,
    unranked: Collection[str] = (),
    why: str = "",
) -> Leaderboard:
    """Rank runs.

    Args:
        results: the runs on the same cases.
        scheme: how; its metrics are those of `results`.
        bootstrap: how many times the cases are drawn again, with replacement and alike for all runs, for the
            intervals of the ranks; 0 for none.
        seed: of the draws.
        reference: name of the run that the gate compares with, where wins are counted; None for no gate.
        unranked: names of runs that are compared and scored but take no rank.
        why: what the page says of the method.
    """
    tested = results.tested()
    outside = np.isin(results.runs, list(unranked))
    gate = None if reference is None else results.runs.index(reference)
    rules = _Rules(scheme, gate, outside)
    judged = rules.judge([goodness for goodness, _ in tested])
    ranks = rules.ranks(judged.totals)
    samples = _bootstrap_ranks(tested, len(results.cases), rules, bootstrap, seed)
    standings = [
        _standing(results, judged, number, None if outside[number] else int(ranks[number]), samples)
        for number in range(len(results.runs))
    ]
    return Leaderboard(
        results=results,
        scheme=scheme,
        standings=tuple(sorted(standings, key=lambda standing: _order(standing, results))),
        wins=dict(zip([metric.name for metric in results.metrics], judged.wins, strict=True)),
        bootstrap=bootstrap,
        seed=seed,
        reference=reference,
        why=why,
    )


def _standing(
    results: Results, judged: _Judged, number: int, rank: int | None, samples: NDArray[np.intp] | None
) -> Standing:
    values = results.values[:, number]
    there = np.isfinite(values)
    names = [metric.name for metric in results.metrics]
    means = [
        float(row[known].mean()) if known.any() else float("nan")
        for row, known in zip(values, there, strict=True)
    ]
    return Standing(
        run=results.runs[number],
        rank=rank,
        interval=None if samples is None or rank is None else _interval(samples[:, number]),
        score=float(judged.totals[number]),
        metric_scores=dict(zip(names, judged.scores[:, number].tolist(), strict=True)),
        components={name: float(of[number]) for name, of in judged.components.items()},
        passed=None if judged.passed is None else bool(judged.passed[number]),
        means=dict(zip(names, means, strict=True)),
        # Where the samples are not the cases, the rules fill what is missing; a case may have no sample.
        without_number={
            name: 0 if name in results.samples else int((~known).sum())
            for name, known in zip(names, there, strict=True)
        },
    )


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
    tested: Sequence[tuple[NDArray[np.float64], NDArray[np.intp]]],
    cases: int,
    rules: _Rules,
    count: int,
    seed: int,
) -> NDArray[np.intp] | None:
    """Repeat the whole procedure on drawn cases; (count, R) ranks."""
    if count < 1:
        return None
    draws = np.random.default_rng(seed).integers(cases, size=(count, cases))
    of_cases = np.arange(cases)
    if all(np.array_equal(case_of, of_cases) for _, case_of in tested):
        goodness = np.stack([values for values, _ in tested])
        batches = []
        for start in range(0, count, _BATCH):
            sample = np.moveaxis(goodness[..., draws[start : start + _BATCH]], 2, 1)  # (M, B, R, N)
            batches.append(rules.ranks(rules.judge(list(sample)).totals))
        return np.concatenate(batches)
    # Cases with several values each, not all as many: one sample after the other.
    places = [[np.flatnonzero(case_of == case) for case in of_cases] for _, case_of in tested]
    rows = []
    for draw in draws:
        drawn = [
            values[:, np.concatenate([of_metric[case] for case in draw])]
            for (values, _), of_metric in zip(tested, places, strict=True)
        ]
        rows.append(rules.ranks(rules.judge(drawn).totals))
    return np.stack(rows)


def _interval(ranks: NDArray[np.intp]) -> tuple[int, int]:
    low, high = np.quantile(ranks, _INTERVAL, method="inverted_cdf")
    return int(low), int(high)
