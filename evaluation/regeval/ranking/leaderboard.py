"""A ranking: who stands where, by what, and what a reader has to know before believing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.metric_direction import Component
from regeval.ranking.results import Results
from regeval.ranking.schemes import ALPHA, Scheme

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of the leaderboard.

    Attributes:
        run: name.
        rank: 1 is the best; equal scores share a rank; None for a reference, which is never ranked.
        interval: the ranks between which 95 % of the bootstrap samples lie; None without a bootstrap.
        score: final score; 0.1 to 1 where losses are counted, up to 100 where wins are; nan for a reference
            that does not compete.
        metric_scores: metric -> score.
        components: component -> score after cap and gate; empty where losses are counted.
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
        why: the method in a sentence, and the reason it was chosen.
    """

    results: Results
    scheme: Scheme
    standings: tuple[Standing, ...]
    wins: Mapping[str, NDArray[np.bool_]]
    bootstrap: int
    seed: int
    reference: str | None
    why: str = ""

    @property
    def competing(self) -> int:
        """Number of runs that beating counts for."""
        if self.scheme.references_compete:
            return len(self.standings)
        return sum(one.rank is not None for one in self.standings)

    def warnings(self) -> tuple[str, ...]:
        """Return what a reader has to know before believing the order."""
        cases, runs = len(self.results.cases), self.competing
        texts = [
            f"{run}: {len(stand_ins)} of {cases} cases had no usable field and are scored as "
            f"{self.results.missing}: {_some(list(stand_ins))}"
            for run, stand_ins in self.results.stand_ins.items()
        ]
        if self.scheme.counts_wins:
            smallest = smallest_p(runs, cases)
            if runs > 1 and smallest >= ALPHA:
                texts.append(
                    f"{cases} cases cannot tell {runs} runs apart: the smallest p-value that can occur is "
                    f"{smallest:.2g} after Holm's correction, so no difference counts; rank fewer runs or "
                    "more cases; equal ranks stand in the order of their means"
                )
            if self.reference is None:
                texts.append("no gate: no run is the reference (name one with --reference)")
        elif not self.scheme.can_decide(max(len(of_case) for _, of_case in self.results.tested())):
            texts.append(
                f"{cases} cases cannot tell any two runs apart by the {self.scheme.test} test: even where "
                "one run is better in every case the difference does not count; rank more cases; equal ranks "
                "stand in the order of their means"
            )
        return tuple(texts)


def smallest_p(runs: int, cases: int) -> float:
    """Return the smallest p-value that can occur where wins are counted, after Holm's correction."""
    return float(runs * (runs - 1) * 0.5**cases)


def _some(names: Sequence[str]) -> str:
    """Return the first few names."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
