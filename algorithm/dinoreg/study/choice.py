"""Which candidate is best on some pairs, and what that choice is worth on people who had no part in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dinoreg.study.ablation_table import CaseResult
from dinoreg.study.candidates import BASE
from regeval.ranking.schemes import geometric_mean
from regtask.pair import Pair

# Candidate -> case -> what was measured.
Results = Mapping[str, Mapping[str, CaseResult]]

_HARDEST = 0.3
# Accuracy, accuracy of the hardest cases, smoothness.
_WEIGHTS = (1.0, 1.0, 0.5)
# Differences below these are none: Dice, TRE in mm, sdLogJ.
DICE_STEP, TRE_STEP_MM, _SMOOTHNESS_STEP = 0.002, 0.02, 0.005


@dataclass(frozen=True, slots=True)
class Fold:
    """One person left out.

    Attributes:
        person: whose pairs were left out.
        chosen: the best candidate on the other pairs.
        gain: accuracy of the chosen one above that of the base on the person's pairs, Dice or mm.
    """

    person: str
    chosen: str
    gain: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found.

    Attributes:
        best: candidate that is best on all pairs.
        scores: candidate -> 0.1 to 1, best first.
        folds: of the cross-validation; empty where all pairs share everybody.
        unit: of the gains.
    """

    best: str
    scores: Mapping[str, float]
    folds: tuple[Fold, ...]
    unit: str

    @property
    def mean_gain(self) -> float:
        """Return what choosing gained on people left out; nan without folds."""
        return float(np.mean([fold.gain for fold in self.folds])) if self.folds else math.nan

    @property
    def taken(self) -> str:
        """The candidate to use: the best one, or the base where choosing did not pay."""
        return BASE if self.mean_gain <= 0 else self.best


def choose(results: Results, pairs: Sequence[Pair]) -> Choice:
    """Rank the candidates and cross-validate the choice, leaving one person out at a time.

    Ranks follow Learn2Reg (Hering et al. 2023): every candidate gets 0.1 to 1 by its place in accuracy, in
    accuracy on the 30 % of cases that are hardest for the base, and in smoothness; the score is their
    weighted geometric mean. Places go by means, without a test of significance, for which a few pairs are
    too few.

    Args:
        results: of every candidate on every pair, the base among them.
        pairs: with labels or landmarks.
    """
    scores = rank(results, [pair.case_key for pair in pairs])
    best = max(scores, key=lambda name: scores[name])
    people = dict.fromkeys(i.subject for pair in pairs for i in (pair.fixed_id, pair.moving_id))
    folds = []
    for person in people:
        out = [p.case_key for p in pairs if person in (p.fixed_id.subject, p.moving_id.subject)]
        kept = [pair.case_key for pair in pairs if pair.case_key not in out]
        if kept:
            trained = rank(results, kept)
            chosen = max(trained, key=lambda name: trained[name])
            gain = accuracy(results[chosen], out).mean() - accuracy(results[BASE], out).mean()
            folds.append(Fold(person, chosen, round(float(gain), 5)))
    first = next(iter(results[BASE].values()))
    return Choice(best, scores, tuple(folds), "Dice" if first.dice is not None else "mm TRE")


def rank(results: Results, cases: Sequence[str]) -> dict[str, float]:
    """Return candidate -> score on some cases, 0.1 to 1, best first; see `choose`."""
    base = accuracy(results[BASE], cases)
    hardest = np.argsort(base, kind="stable")[: max(1, math.ceil(_HARDEST * len(cases)))]
    by_label = next(iter(results[BASE].values())).dice is not None
    step = DICE_STEP if by_label else TRE_STEP_MM
    rows = []
    for found in results.values():
        value = accuracy(found, cases)
        smooth = -np.mean([found[case].sd_log_jacobian or 0.0 for case in cases])
        rows.append((value.mean() / step, value[hardest].mean() / step, smooth / _SMOOTHNESS_STEP))
    places = rankdata(np.round(np.array(rows)), axis=0)
    scores = 0.1 + 0.9 * (places - 1) / max(1, len(rows) - 1)
    total = geometric_mean(scores.T, _WEIGHTS)
    order = np.argsort(-total, kind="stable")
    names = list(results)
    return {names[i]: round(float(total[i]), 4) for i in order}


def accuracy(found: Mapping[str, CaseResult], cases: Sequence[str]) -> NDArray[np.float64]:
    """Return the Dice of every case, or its TRE below zero, so that more is better; (N,)."""
    values = []
    for case in cases:
        one = found[case]
        if one.dice is None and one.tre_mm is None:
            raise ValueError(f"{case} has neither labels nor landmarks")
        values.append(one.dice if one.dice is not None else -float(one.tre_mm or 0.0))
    return np.array(values, dtype=np.float64)
