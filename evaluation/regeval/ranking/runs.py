"""The runs that are compared: one metrics file each.

A file is what the Learn2Reg evaluator and `regeval evaluate` write: `cases -> metric -> {"mean": ..}`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regtask.documents import read_json
from regtask.errors import DataError, Fault

# Name of the run without any displacement, which gates compare with.
REFERENCE = "identity"
# The mean over the 30 % of landmarks that were worst before registration, beside "mean" in a case.
_HARDEST = "hardest30"
# Numbers that differ by less are one number.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Run:
    """The metrics of one run.

    Attributes:
        name: what the ranking calls it.
        task: name of the task that was evaluated; empty where the file is silent.
        mode: whose definitions the numbers follow: "l2r" or "strict".
        masked: whether regularity was judged within masks; None where the file is silent.
        scores: case -> metric -> mean over the case; nan where the file has no number.
        kinds: metric -> kind, such as "dice", of those that the evaluation was asked for; empty for files
            that do not say.
        reference: the identity on the same cases, where the file has it.
        stand_ins: case -> why it had no usable field, of the cases that were scored without one.
        missing: as what those cases were scored: "identity" or "worst"; empty where there are none.
        detailed: case -> metric -> one value per label or landmark; nan where the file has no number.
        labels: metric -> the labels that its detailed values belong to.
    """

    name: str
    task: str
    mode: str
    masked: bool | None
    scores: Mapping[str, Mapping[str, float]]
    kinds: Mapping[str, str]
    reference: "Run | None" = None
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    detailed: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_identity(self) -> bool:
        """Return whether every number is that of the identity in the same file: nothing was moved.

        Up to rounding: the spread of a constant Jacobian is 0 or 4e-16, as the sum happens to be taken.
        """
        return self.reference is not None and all(
            case in self.reference.scores
            and all(
                _equal(value, self.reference.scores[case].get(metric, math.nan))
                for metric, value in metrics.items()
            )
            for case, metrics in self.scores.items()
        )

    def metrics(self) -> set[str]:
        """Return the metrics that every case has."""
        return set.intersection(*(set(metrics) for metrics in self.scores.values()))


def read_run(name: str, path: Path) -> Run:
    """Read a metrics file.

    Raises:
        DataError: no file, not JSON, or not a metrics file.
    """
    content = read_json(path, "a metrics file in JSON")
    if not isinstance(content, dict):
        raise DataError(_no_metrics(path))
    scores = _scores(content, path)
    task = str(content.get("name") or "")
    mode = str(content.get("mode") or "l2r")  # the official evaluator knows no other and says nothing
    masked = content.get("masked") if isinstance(content.get("masked"), bool) else None
    kinds, labels = _kinds(content), _labels(content)
    identity, before = None, content.get("reference")
    if isinstance(before, dict):
        start = _scores(before, path)
        identity = Run(REFERENCE, task, mode, masked, start, kinds, detailed=_detailed(before), labels=labels)
    stand_ins, missing = _stand_ins(content.get("missing"), scores)
    detailed = _detailed(content)
    return Run(name, task, mode, masked, scores, kinds, identity, stand_ins, missing, detailed, labels)


def with_reference(runs: Sequence[Run]) -> list[Run]:
    """Add the identity, as the files of the runs have it, unless a run is called so already."""
    if any(run.name == REFERENCE for run in runs):
        return list(runs)
    found = next((run.reference for run in runs if run.reference is not None), None)
    return list(runs) if found is None else [*runs, found]


def _scores(content: Mapping[str, Any], path: Path) -> dict[str, dict[str, float]]:
    cases = content.get("cases")
    if not isinstance(cases, dict) or not cases or not all(isinstance(case, dict) for case in cases.values()):
        raise DataError(_no_metrics(path))
    return {str(case): _case_scores(metrics) for case, metrics in cases.items()}


def _case_scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for metric, entry in metrics.items():
        scores[str(metric)] = _number(entry.get("mean") if isinstance(entry, dict) else entry)
        if isinstance(entry, dict) and _HARDEST in entry:
            scores[f"{metric}.{_HARDEST}"] = _number(entry[_HARDEST])
    return scores


def _detailed(content: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, ...]]]:
    return {
        str(case): {
            str(metric): tuple(map(_number, entry["detailed"]))
            for metric, entry in metrics.items()
            if isinstance(entry, dict) and isinstance(entry.get("detailed"), list)
        }
        for case, metrics in content["cases"].items()
    }


def _labels(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    methods = content.get("metrics")
    return {
        str(name): tuple(map(str, entry["labels"]))
        for name, entry in (methods.items() if isinstance(methods, dict) else ())
        if isinstance(entry, dict) and isinstance(entry.get("labels"), list)
    }


def _stand_ins(raw: object, scores: Mapping[str, object]) -> tuple[dict[str, str], str]:
    """Return the cases that were scored without a field, each with the reason, and as what."""
    entry = raw if isinstance(raw, dict) else {}
    cases = entry.get("cases")
    if not isinstance(cases, dict):
        return {}, ""
    stand_ins = {str(case): str(why) for case, why in cases.items() if case in scores}
    return stand_ins, str(entry.get("policy", ""))


def _kinds(content: Mapping[str, Any]) -> dict[str, str]:
    """Return what the evaluation was asked for: metric -> kind, or "" where only the name tells."""
    methods, aggregates = content.get("metrics"), content.get("aggregates")
    if isinstance(methods, dict):
        kinds = {
            str(name): str(entry.get("metric")) for name, entry in methods.items() if isinstance(entry, dict)
        }
        return kinds | {f"{name}.{_HARDEST}": kind for name, kind in kinds.items() if kind == "tre"}
    return dict.fromkeys(map(str, aggregates), "") if isinstance(aggregates, dict) else {}


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME) or (math.isnan(one) and math.isnan(other))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _no_metrics(path: Path) -> Fault:
    remedy = "write it by `regeval evaluate` or by the evaluator of Learn2Reg, version 2.0"
    return Fault("not a metrics file", str(path), '"cases" with metrics', remedy=remedy)
