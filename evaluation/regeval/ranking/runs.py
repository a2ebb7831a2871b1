"""The runs that are compared: one metrics file each, brought to one table.

A file is what the Learn2Reg evaluator and `regeval evaluate` write: `cases -> metric -> {"mean": ..}`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.metrics import Metric, known_metric, metric_of
from regtask.errors import DataError, Fault, nearest

# Differences of case sets are listed up to this number; whole other tasks would fill the screen.
_MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class Run:
    """The metrics of one run.

    Attributes:
        name: what the ranking calls it.
        task: name of the task that was evaluated; empty where the file is silent.
        scores: case -> metric -> mean over the case; nan where the file has no number.
    """

    name: str
    task: str
    scores: Mapping[str, Mapping[str, float]]

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
        values: (metrics, runs, cases), as in the files; nan or infinite where there is no number.
        left_out: metrics that are not ranked, each with the reason.
    """

    task: str
    runs: tuple[str, ...]
    cases: tuple[str, ...]
    metrics: tuple[Metric, ...]
    values: NDArray[np.float64]
    left_out: Mapping[str, str]

    def goodness(self) -> NDArray[np.float64]:
        """Return the values with the sign that makes larger ones better, all finite.

        A value that is no number (no result, a lost organ's infinite distance) is worse than every number, by
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
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(Fault("not a metrics file", str(path), "JSON", str(error))) from error
    except OSError as error:
        raise DataError(Fault("cannot read", str(path), got=error.strerror or str(error))) from error
    cases = content.get("cases") if isinstance(content, dict) else None
    if not isinstance(cases, dict) or not cases or not all(isinstance(case, dict) for case in cases.values()):
        remedy = "write it by `regeval evaluate` or by the evaluator of Learn2Reg, version 2.0"
        raise DataError(Fault("not a metrics file", str(path), '"cases" with metrics', remedy=remedy))
    scores = {
        str(case): {str(metric): _mean(entry) for metric, entry in metrics.items()}
        for case, metrics in cases.items()
    }
    return Run(name, str(content.get("name") or ""), scores)


def compare(runs: Sequence[Run], wanted: Sequence[str] = ()) -> Results:
    """Bring runs to one table.

    Args:
        runs: two or more, of different names.
        wanted: metrics to rank; none takes all of a known direction that every run has and that differ
            between any two runs or cases.

    Raises:
        DataError: fewer than two runs, or runs of one name, of different tasks or cases, or without a wanted
            metric; all faults of one kind at once.
    """
    _refuse_different(runs)
    shared = set.intersection(*(run.metrics() for run in runs))
    names = {name: None for run in runs for metrics in run.scores.values() for name in metrics}
    if wanted:
        _refuse_missing(runs, wanted)
        chosen = [known_metric(name) for name in wanted]
        left_out = {name: "not asked for" for name in names if name not in wanted}
    else:
        chosen = [metric for name in names if name in shared and (metric := metric_of(name))]
        left_out = {name: "not in every run and case" for name in names if name not in shared}
        left_out |= {name: "unknown direction" for name in names if name in shared and not metric_of(name)}
        left_out |= {metric.name: "the same everywhere" for metric in chosen if _constant(runs, metric.name)}
        chosen = [metric for metric in chosen if metric.name not in left_out]
    if not chosen:
        raise DataError(Fault("nothing to rank", ", ".join(names), "a metric of known direction in all runs"))
    cases = tuple(sorted(runs[0].scores))
    values = [[[run.scores[case][metric.name] for case in cases] for run in runs] for metric in chosen]
    task = next((run.task for run in runs if run.task), "")
    table = np.array(values, dtype=np.float64)
    return Results(task, tuple(run.name for run in runs), cases, tuple(chosen), table, left_out)


def _constant(runs: Sequence[Run], metric: str) -> bool:
    values = {metrics[metric] for run in runs for metrics in run.scores.values()}
    return len(values) == 1 or not any(map(math.isfinite, values))


def _mean(entry: Any) -> float:
    value = entry.get("mean") if isinstance(entry, dict) else entry
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _refuse_different(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise DataError(Fault("nothing to compare", "runs", "two or more", str(len(runs))))
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(Fault("runs of one name", ", ".join(twice), "one name per run"))
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
