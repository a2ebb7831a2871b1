"""The runs that are compared: one metrics file each, brought to one table.

A file is what the Learn2Reg evaluator and `regeval evaluate` write: `cases -> metric -> {"mean": ..}`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.metric_direction import Component, Metric, known_metric, metric_of
from regtask.documents import read_json
from regtask.errors import DataError, Fault, nearest

# Differences of case sets are listed up to this number; whole other tasks would fill the screen.
_MAX_LISTED = 20
# Name of the run without any displacement, which gates compare with.
REFERENCE = "identity"
# The mean over the 30 % of landmarks that were worst before registration, beside "mean" in a case.
_HARDEST = "hardest30"


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

    def is_identity(self) -> bool:
        """Return whether every number is that of the identity in the same file: nothing was moved."""
        return self.reference is not None and all(
            case in self.reference.scores
            and all(
                value == (there := self.reference.scores[case].get(metric))
                or (there != there and value != value)
                for metric, value in metrics.items()
            )
            for case, metrics in self.scores.items()
        )

    def metrics(self) -> set[str]:
        """Return the metrics that every case has."""
        return set.intersection(*(set(metrics) for metrics in self.scores.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All runs on the same cases.

    Attributes:
        task: name of the task.
        runs: names, in the order given.
        cases: names, sorted.
        metrics: the columns that are ranked.
        values: (metrics, runs, cases), as in the files; nan or infinite where a number is missing.
        left_out: metrics that are not ranked, each with the reason.
        units: metric -> unit, of those that have one and whose kind the files tell.
        stand_ins: run -> case -> why it had no usable field, of the runs that have such cases.
        missing: as what those cases were scored.
    """

    task: str
    runs: tuple[str, ...]
    cases: tuple[str, ...]
    metrics: tuple[Metric, ...]
    values: NDArray[np.float64]
    left_out: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missing: str = ""

    def goodness(self) -> NDArray[np.float64]:
        """Return the values with the sign that makes larger ones better, all finite.

        A missing or infinite value (a failed case, a lost organ's distance) is worse than every number, by
        more than any two numbers differ; two such values are equal.
        """
        signs = np.array([1 if metric.higher_is_better else -1 for metric in self.metrics])
        goodness: NDArray[np.float64] = self.values * signs[:, None, None]
        for values in goodness:
            finite = values[np.isfinite(values)]
            worst = finite.min() - (np.ptp(finite) + 1) if finite.size else 0.0
            values[~np.isfinite(values)] = worst
        return goodness


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
    kinds = _kinds(content)
    identity = None
    if isinstance(content.get("reference"), dict):
        identity = Run(REFERENCE, task, mode, masked, _scores(content["reference"], path), kinds)
    stand_ins, missing = _stand_ins(content.get("missing"), scores)
    return Run(name, task, mode, masked, scores, kinds, identity, stand_ins, missing)


def with_reference(runs: Sequence[Run]) -> list[Run]:
    """Add the identity, as the files of the runs have it, unless a run is called so already."""
    if any(run.name == REFERENCE for run in runs):
        return list(runs)
    found = next((run.reference for run in runs if run.reference is not None), None)
    return list(runs) if found is None else [*runs, found]


def compare(runs: Sequence[Run], wanted: Sequence[str] = ()) -> Results:
    """Bring runs to one table.

    Args:
        runs: two or more, of different names.
        wanted: metrics to rank; none takes those that the evaluations were asked for and that differ
            between any two runs or cases.

    Raises:
        DataError: fewer than two runs, or runs of one name, of different tasks or cases, or without a wanted
            metric; all faults of one kind at once.
    """
    _refuse_different(runs)
    shared = set.intersection(*(run.metrics() for run in runs))
    kinds = {name: kind for run in runs for name, kind in run.kinds.items()}
    names = {name: None for run in runs for metrics in run.scores.values() for name in metrics}
    if wanted:
        _refuse_missing(runs, wanted)
        chosen = [known_metric(name, kinds.get(name, "")) for name in wanted]
        left_out = {name: "not asked for" for name in kinds if name not in wanted}
    else:
        asked = [name for name in names if name in kinds or not kinds]
        chosen = [
            metric for name in asked if name in shared and (metric := metric_of(name, kinds.get(name, "")))
        ]
        known = {metric.name for metric in chosen}
        left_out = {name: "not in every run and case" for name in asked if name not in shared}
        left_out |= {name: "unknown direction" for name in asked if name in shared - known}
        left_out |= {metric.name: "the same everywhere" for metric in chosen if _constant(runs, metric.name)}
        chosen = [metric for metric in chosen if metric.name not in left_out]
        chosen.sort(key=lambda metric: get_args(Component).index(metric.component))  # accuracy first
    if not chosen:
        raise DataError(Fault("nothing to rank", ", ".join(names), "a metric of known direction in all runs"))
    cases = tuple(sorted(runs[0].scores))
    values = [[[run.scores[case][metric.name] for case in cases] for run in runs] for metric in chosen]
    task = next((run.task for run in runs if run.task), "")
    table = np.array(values, dtype=np.float64)
    # The distances of the challenge's own evaluator are in voxels, see docs/evaluation.md.
    unit_of = {"hd95": "voxels" if runs[0].mode == "l2r" else "mm", "tre": "mm"}
    units = {
        metric.name: unit_of[kind] for metric in chosen if (kind := kinds.get(metric.name, "")) in unit_of
    }
    return Results(
        task,
        tuple(run.name for run in runs),
        cases,
        tuple(chosen),
        table,
        left_out,
        units,
        {run.name: run.stand_ins for run in runs if run.stand_ins},
        next((run.missing for run in runs if run.stand_ins), ""),
    )


def _constant(runs: Sequence[Run], metric: str) -> bool:
    values = {metrics[metric] for run in runs for metrics in run.scores.values()}
    return len(values) == 1 or not any(map(math.isfinite, values))


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


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _no_metrics(path: Path) -> Fault:
    remedy = "write it by `regeval evaluate` or by the evaluator of Learn2Reg, version 2.0"
    return Fault("not a metrics file", str(path), '"cases" with metrics', remedy=remedy)


def _refuse_different(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise DataError(Fault("nothing to compare", "runs", "two or more", str(len(runs))))
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(Fault("runs of one name", ", ".join(twice), "one name per run"))
    for what, rules in (
        ("mode", {run.mode: run.name for run in runs}),
        ("masked", {run.masked: run.name for run in runs if run.masked is not None}),
        ("stand-in for missing fields", {run.missing: run.name for run in runs if run.stand_ins}),
    ):
        if len(rules) > 1:
            got = ", ".join(f"{what} {rule} ({name})" for rule, name in rules.items())
            raise DataError(Fault("runs evaluated by different rules", "runs", f"one {what}", got))
    tasks = {run.task: run.name for run in runs if run.task}
    if len(tasks) > 1:
        got = ", ".join(f"{task} ({name})" for task, name in tasks.items())
        raise DataError(Fault("runs of different tasks", "runs", "one task", got))
    union = set().union(*(run.scores for run in runs))
    faults = []
    for run in runs:
        if missing := sorted(union - set(run.scores)):
            more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
            got = f"no {', '.join(missing[:_MAX_LISTED])}{more}"
            remedy = "evaluate all runs on the same pairs"
            faults.append(Fault("cases missing", run.name, f"all {len(union)} cases", got, remedy))
    if faults:
        raise DataError(*faults)


def _refuse_missing(runs: Sequence[Run], wanted: Sequence[str]) -> None:
    faults = []
    for run in runs:
        for name in wanted:
            cases = [case for case, metrics in run.scores.items() if name not in metrics]
            if cases:
                known = {metric for metrics in run.scores.values() for metric in metrics}
                guess = nearest(name, known - {name})
                remedy = f"is {guess!r} meant?" if guess else ""
                got = "no case has it" if len(cases) == len(run.scores) else f"not in {', '.join(cases[:5])}"
                faults.append(Fault("metric missing", run.name, name, got, remedy))
    if faults:
        raise DataError(*faults)
