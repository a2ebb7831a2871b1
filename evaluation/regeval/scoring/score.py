"""The scores of one pair by both sets of rules: what they consist of and are called."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Mode = Literal["l2r", "strict"]


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one pair, as the metrics file holds it.

    Attributes:
        mean: the value; NaN where there is none.
        detailed: the same, or the value of each label or landmark.
        more: further entries.
        reasons: why values are missing or were set.
    """

    mean: float
    detailed: float | tuple[float, ...]
    more: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the metrics file."""
        detailed = list(self.detailed) if isinstance(self.detailed, tuple) else self.detailed
        entry: dict[str, Any] = {"mean": self.mean, "detailed": detailed, **self.more}
        if self.reasons:
            entry["reasons"] = list(self.reasons)
        return entry


@dataclass(frozen=True, slots=True)
class BothScores:
    """The scores of one pair by both sets of rules.

    Attributes:
        official: name -> score, as the official evaluator has it.
        strict: name -> score.
        regularity: name -> score; these names and values belong to both.
    """

    official: Mapping[str, Score]
    strict: Mapping[str, Score]
    regularity: Mapping[str, Score]

    def named(self, mode: Mode) -> dict[str, Score]:
        """Return all scores: those of the mode under their own names, the others' with an ending."""
        other: Mode = "l2r" if mode == "strict" else "strict"
        beside = {f"{name}_{other}": score for name, score in self._by(other).items()}
        return {**self._by(mode), **beside, **self.regularity}

    def _by(self, mode: Mode) -> Mapping[str, Score]:
        return self.official if mode == "l2r" else self.strict


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    present = [value for value in values if not math.isnan(value)]
    # np.mean, as the official evaluator: its sum of many values rounds differently from Python's.
    return float(np.mean(present)) if present else math.nan
