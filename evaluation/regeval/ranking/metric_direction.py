"""What the metrics of a metrics file mean: which direction is better, and what they are evidence of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from regtask.errors import DataError, Fault

Component = Literal["accuracy", "biomarker", "regularity", "runtime"]

# What the metrics of an evaluation configuration are.
_OF_KIND: Mapping[str, tuple[bool, Component]] = MappingProxyType(
    {
        "dice": (True, "accuracy"),
        "hd95": (False, "accuracy"),
        "tre": (False, "accuracy"),
        "sdlogj": (False, "regularity"),
        "ndv": (False, "regularity"),
    }
)
# What a name says where the kind is not known: the names are chosen by whoever writes the configuration, and
# these are the stems of those in use. First match counts.
_KINDS: tuple[tuple[str, bool, Component], ...] = (
    (r"dsc|dice", True, "accuracy"),
    (r"tre|hd|hausdorff|asd", False, "accuracy"),
    (r"mtv|tlg|lesion", False, "biomarker"),
    (r"logj|fold|ndv|nondiffeo|non_diffeo", False, "regularity"),
    (r"time|seconds", False, "runtime"),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a ranking.

    Attributes:
        name: as in the metrics files.
        higher_is_better: True for overlaps, False for errors, irregularity and time.
        component: "accuracy" can win a ranking; "biomarker" (change of what a lesion measures),
            "regularity" and "runtime" can only confirm it.
    """

    name: str
    higher_is_better: bool
    component: Component


def metric_of(name: str, kind: str = "") -> Metric | None:
    """Return what a metric means, or None if neither its kind nor its name tells.

    Args:
        name: as in the metrics files.
        kind: what the evaluation's configuration calls it, such as "dice"; empty if unknown.
    """
    if kind in _OF_KIND:
        return Metric(name, *_OF_KIND[kind])
    for pattern, higher_is_better, component in _KINDS:
        if re.search(pattern, name, re.IGNORECASE):
            return Metric(name, higher_is_better, component)
    return None


def known_metric(name: str, kind: str = "") -> Metric:
    """Return what a metric means, see `metric_of`.

    Raises:
        DataError: nothing says which direction is better.
    """
    metric = metric_of(name, kind)
    if metric is None:
        stems = ", ".join(pattern.replace("|", ", ") for pattern, _, _ in _KINDS)
        raise DataError(Fault("metric of unknown direction", name, f"a name that contains one of: {stems}"))
    return metric
