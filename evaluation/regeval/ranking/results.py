"""All runs on the same cases, brought to one table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.metric_direction import Component, Metric, known_metric, metric_of
from regeval.ranking.runs import Run
from regtask.errors import DataError, Fault, nearest

# Differences of case sets are listed up to this number; whole other tasks would fill the screen.
_MAX_LISTED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What the tests of one metric compare, where that is not one value per case.

    Attributes:
        values: (R, S), in the metric's unit; nan or infinite where there is no number.
        case_of: (S,) index of the case that each belongs to: the bootstrap draws cases.
    """

    values: NDArray[np.float64]
    case_of: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All runs on the same cases.

    Attributes:
        task: name of the task.
        runs: names, in the order given.
        cases: names, sorted.
        metrics: the columns that are ranked.
        values: (metrics, runs, cases), as in the files; nan or infinite where there is no number.
        left_out: metrics that are not ranked, each with the reason.
        units: metric -> unit, of those that have one and whose kind the files tell.
        stand_ins: run -> case -> why it had no usable field, of the runs that have such cases.
        missing: as what those cases were scored.
        samples: metric -> what its tests compare; the values of the cases where it says nothing.
        labels: metric -> its labels, of those that have some.
        by_label: metric -> (runs, cases, labels), of the same.
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
    samples: Mapping[str, Samples] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_label: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def goodness(self) -> NDArray[np.float64]:
        """Return the values with the sign that makes larger ones better, all finite.

        A value that is no number (no result, a lost organ's infinite distance) is worse than every number, by
        more than any two numbers differ; two such values are equal.
        """
        return np.stack(
            [_goodness(values, one) for values, one in zip(self.values, self.metrics, strict=True)]
        )

    def tested(self) -> list[tuple[NDArray[np.float64], NDArray[np.intp]]]:
        """Return per metric what the tests compare: goodness (R, S), and the case of each column, (S,)."""
        cases = np.arange(len(self.cases))
        return [
            (_goodness(of.values, metric), of.case_of)
            if (of := self.samples.get(metric.name))
            else (goodness, cases)
            for metric, goodness in zip(self.metrics, self.goodness(), strict=True)
        ]


def _goodness(values: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    goodness = values * (1.0 if metric.higher_is_better else -1.0)
    finite = goodness[np.isfinite(goodness)]
    worst = finite.min() - (np.ptp(finite) + 1) if finite.size else 0.0
    goodness[~np.isfinite(goodness)] = worst
    return goodness


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
    refuse_different(runs)
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
    return table(runs, cases, chosen, np.array(values, dtype=np.float64), left_out)


def table(
    runs: Sequence[Run],
    cases: Sequence[str],
    metrics: Sequence[Metric],
    values: NDArray[np.float64],
    left_out: Mapping[str, str],
    samples: Mapping[str, Samples] | None = None,
) -> Results:
    """Put values (metrics, runs, cases) beside what the files say of task, units, labels and stand-ins."""
    by_label = {one.name: of for one in metrics if (of := _by_label(runs, cases, one.name)) is not None}
    kinds = {name: kind for run in runs for name, kind in run.kinds.items()}
    # The distances of the challenge's own evaluator are in voxels, see docs/evaluation.md.
    unit_of = {"hd95": "voxels" if runs[0].mode == "l2r" else "mm", "tre": "mm"}
    return Results(
        next((run.task for run in runs if run.task), ""),
        tuple(run.name for run in runs),
        tuple(cases),
        tuple(metrics),
        values,
        left_out,
        {
            one.name: unit_of[kind]
            for one in metrics
            if (kind := kinds.get(one.name.removesuffix("30"), "")) in unit_of
        },
        {run.name: run.stand_ins for run in runs if run.stand_ins},
        next((run.missing for run in runs if run.stand_ins), ""),
        samples or {},
        {name: runs[0].labels[name] for name in by_label},
        by_label,
    )


def _by_label(runs: Sequence[Run], cases: Sequence[str], metric: str) -> NDArray[np.float64] | None:
    """Return the values by label, (R, N, L); None where a run lacks some or has others."""
    labels = runs[0].labels.get(metric)
    if not labels or any(run.labels.get(metric) != labels for run in runs):
        return None
    rows = [[run.detailed.get(case, {}).get(metric, ()) for case in cases] for run in runs]
    if any(len(values) != len(labels) for of_run in rows for values in of_run):
        return None
    return np.array(rows, dtype=np.float64)


def _constant(runs: Sequence[Run], metric: str) -> bool:
    values = {metrics[metric] for run in runs for metrics in run.scores.values()}
    return len(values) == 1 or not any(map(math.isfinite, values))


def refuse_different(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be compared.

    Raises:
        DataError: too few, of one name, or of different rules, tasks or cases.
    """
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
