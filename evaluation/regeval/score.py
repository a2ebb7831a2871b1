"""One score of one pair, and what the two sets of rules share."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


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


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    present = [value for value in values if not math.isnan(value)]
    # np.mean, as the official evaluator: its sum of many values rounds differently from Python's.
    return float(np.mean(present)) if present else math.nan
