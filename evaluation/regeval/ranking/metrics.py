"""What the metrics of a metrics file mean: which direction is better, and what they are evidence of."""

import re
from dataclasses import dataclass
from typing import Literal

from regtask.errors import DataError, Fault

Component = Literal["accuracy", "regularity", "runtime"]

# First match counts. The names are chosen by whoever writes the evaluation configuration; these are the stems
# of those in use.
_KINDS: tuple[tuple[str, bool, Component], ...] = (
    (r"dsc|dice", True, "accuracy"),
    (r"tre|hd|hausdorff|asd", False, "accuracy"),
    (r"logj|fold|ndv|nondiffeo|non_diffeo", False, "regularity"),
    (r"time|seconds", False, "runtime"),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a ranking.

    Attributes:
        name: as in the metrics files.
        higher_is_better: True for overlaps, False for errors, irregularity and time.
        component: "accuracy" can win a ranking; "regularity" and "runtime" can only confirm it.
    """

    name: str
    higher_is_better: bool
    component: Component


def metric_of(name: str) -> Metric | None:
    """Return what a metric of this name means, or None for a name of no known kind."""
    for pattern, higher_is_better, component in _KINDS:
        if re.search(pattern, name, re.IGNORECASE):
            return Metric(name, higher_is_better, component)
    return None


def known_metric(name: str) -> Metric:
    """Return what a metric of this name means.

    Raises:
        DataError: the name says nothing about which direction is better.
    """
    metric = metric_of(name)
    if metric is None:
        stems = ", ".join(pattern.replace("|", ", ") for pattern, _, _ in _KINDS)
        raise DataError(Fault("metric of unknown direction", name, f"a name that contains one of: {stems}"))
    return metric
