"""Scores of many pairs, summed up per metric: mean, deviation, quantiles, the hardest 30 %."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from regeval.inputs.config import Config, Kind, Method
from regeval.scoring.score import BothScores, Mode, Score, mean_of
from regeval.scoring.stand_ins import STAND_IN
from regeval.scoring.strict_rules import HARDEST_NAME, hardest

# Of which metrics the official "30" is the quantile 0.3 of the case means; of the others it is 0.7. For HD95,
# where high is bad, that is the favourable side; the strict rules take 0.7 there.
_OFFICIAL_LOW: tuple[Kind, ...] = ("dice", "hd95")
_STRICT_LOW: tuple[Kind, ...] = ("dice",)
_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def aggregates(
    config: Config, after: Sequence[BothScores], before: Sequence[BothScores], mode: Mode
) -> dict[str, dict[str, Any]]:
    """Sum up every metric over the pairs.

    Args:
        config: what was scored.
        after: of the fields.
        before: of the identity, same pairs; they tell what is hard.
        mode: whose names come without an ending.

    Returns:
        Name -> `mean`, `std` (population), `30`, quantiles and more, see docs/evaluation.md.
    """
    methods = {method.name: method for method in config.methods}
    named = [scores.named(mode) for scores in after]
    summary: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for scores in named for name in scores):
        own, rules = _split(name, mode)
        method = methods.get(own)
        entries = [scores[name] for scores in named if name in scores]
        summary[name] = _summary([entry.mean for entry in entries], _level(method, rules), rules)
        if stand_ins := sum(STAND_IN in entry.more for entry in entries):
            summary[name]["stand_ins"] = stand_ins
        if method is None:
            continue
        if method.labels:
            summary[name]["per_label"] = _per_label(method, entries)
        if rules == "strict":
            strict_before = [scores.strict[own] for scores in before]
            summary[name] |= _hardest(method, entries, strict_before) | _counts(entries)
    official = [method.name for method in config.methods]
    return {name: summary[name] for name in (*official, *(set_ for set_ in summary if set_ not in official))}


def _split(name: str, mode: Mode) -> tuple[str, Mode]:
    """Return the name without its ending, and whose rules it follows."""
    if mode == "l2r" and name.endswith("_strict"):
        return name.removesuffix("_strict"), "strict"
    if mode == "strict" and name.endswith("_l2r"):
        return name.removesuffix("_l2r"), "l2r"
    return name, mode


def _level(method: Method | None, rules: Mode) -> float:
    low = _OFFICIAL_LOW if rules == "l2r" else _STRICT_LOW
    return 0.3 if method is not None and method.kind in low else 0.7


def _summary(values: Sequence[float], level: float, rules: Mode) -> dict[str, Any]:
    array = np.array(values, dtype=np.float64)
    present = array[~np.isnan(array)]
    used = array if rules == "l2r" else present
    with np.errstate(invalid="ignore"):  # infinite HD95: the official mean is infinite, its spread NaN
        summary: dict[str, Any] = {
            "mean": _of(np.mean, used),
            "std": _of(np.std, used),
            "30": _of(lambda a: np.quantile(a, level), used),
        }
        summary |= {
            name: _of(lambda a, q=q: np.quantile(a, q), present)  # type: ignore[misc]
            for name, q in _QUANTILES.items()
        }
        summary |= {"min": _of(np.min, present), "max": _of(np.max, present), "cases": present.size}
    return summary


def _of(function: Callable[[Any], Any], values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(function(values)) if values.size else math.nan


def _per_label(method: Method, entries: Sequence[Score]) -> dict[str, Any]:
    summary = {}
    for place, label in enumerate(method.labels):
        values = [_detailed(entry)[place] for entry in entries]
        present = [value for value in values if not math.isnan(value)]
        summary[str(label)] = {"mean": mean_of(values), "cases": len(present)}
    return summary


def _hardest(method: Method, after: Sequence[Score], before: Sequence[Score]) -> dict[str, float]:
    """Return the mean over the 30 % of all landmarks, or Dice values, that are worst without registration."""
    if method.kind not in ("tre", "dice"):
        return {}
    pairs = [
        (start, value)
        for one, other in zip(before, after, strict=True)
        for start, value in zip(_detailed(one), _detailed(other), strict=True)
        if not math.isnan(value)
    ]
    if not pairs:
        return {HARDEST_NAME: math.nan}
    sign = 1 if method.kind == "tre" else -1
    chosen = hardest([sign * start for start, _ in pairs])
    pooled = float(np.mean([pairs[index][1] for index in chosen]))
    if method.kind == "dice":
        return {HARDEST_NAME: pooled}
    per_case = mean_of(entry.more.get(HARDEST_NAME, math.nan) for entry in after)
    return {HARDEST_NAME: per_case, f"{HARDEST_NAME}_pooled": pooled}


def _counts(entries: Sequence[Score]) -> dict[str, int]:
    return {
        key: sum(len(entry.more[key]) for entry in entries)
        for key in ("absent_labels", "lost_labels")
        if all(key in entry.more for entry in entries)
    }


def _detailed(score: Score) -> tuple[float, ...]:
    return score.detailed if isinstance(score.detailed, tuple) else (score.detailed,)
