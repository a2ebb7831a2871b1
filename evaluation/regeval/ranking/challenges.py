"""The columns and samples of challenges whose rules are published exactly enough to be followed.

Learn2Reg: the ranking notebooks of AbdomenMRCT, OASIS and LungCT. PSMAReg: the results of Learn2Reg 2026.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from regeval.ranking.metric_direction import Metric, metric_of
from regeval.ranking.results import Results, Samples, refuse_different, table
from regeval.ranking.runs import REFERENCE, Run
from regtask.errors import DataError, Fault

# What the notebooks put where there is no number: Dice; HD95, in voxels; landmark errors, in mm.
_NO_DICE, _NO_HD95, _NO_TRE_MM = 0.0, 10.0, 30.0
# The irregularity of not moving at all, which must not win: by the notebooks with labels, by that without.
_STILL = {"dice": 1.5, "tre": 5.0}
_HARDEST = 0.3
# PSMAReg takes smaller shares of non-diffeomorphic volume, in percent, for equal.
_SAME_NDV_PERCENT = 0.005
_NDV = ("NDV_percent_masked", "NDV_percent")

UNPUBLISHED: Mapping[str, str] = MappingProxyType(
    {
        "oncoreg": "the weights of OncoReg were never published, and no weights that were tried give the "
        "scores it printed; `learn2reg` is the scheme that it builds on",
        "lumir": "LUMIR published scores, but not how they are made of TRE, Dice, HD95 and NDV; `learn2reg` "
        "and `wilcoxon-holm` rank the same metrics",
    }
)


def learn2reg(runs: Sequence[Run]) -> tuple[Results, tuple[float, ...]]:
    """Return the columns of Learn2Reg and their weights, without run time.

    With labels: Dice, the 30 % of all cases' labels that are worst without registration (DSC30), HD95 and
    sdLogJ, weighed alike; the tests compare labels of cases. With landmarks only: TRE counted twice, each
    case's 30 % with the largest initial error (TRE30), sdLogJ; the tests compare landmarks.

    Args:
        runs: two or more, `identity` among them or in their files.

    Raises:
        DataError: the runs do not compare, or lack what the rules need.
    """
    refuse_different(runs)
    first = runs[0]
    identity = next((run for run in runs if run.name == REFERENCE), None) or next(
        (run.reference for run in runs if run.reference), None
    )
    overlap, landmarks = _named(first, "dice"), _named(first, "tre")
    regularity = _named(first, "sdlogj")
    leading = overlap or landmarks
    if identity is None or leading is None or regularity is None:
        lack = "no identity" if identity is None else "no sdlogj" if leading else "no dice or tre"
        remedy = "evaluate by `regeval evaluate`, whose files have them"
        expected = "labels or landmarks, sdlogj and the identity"
        raise DataError(Fault("not what learn2reg ranks", "runs", expected, lack, remedy))
    cases = tuple(sorted(first.scores))
    fill = _NO_DICE if overlap else _NO_TRE_MM
    values, case_of = _stacked(runs, leading, cases, fill)
    before, _ = _stacked([identity], leading, cases, fill)
    hard = _hardest_labels(before[0]) if overlap else _hardest_landmarks(before[0], case_of)
    short = metric_of(f"{leading}30", "dice" if overlap else "tre")
    columns = [
        (_metric(leading, "dice" if overlap else "tre"), Samples(values, case_of), 1.0 if overlap else 2.0),
        (short or _metric(leading, "tre"), Samples(values[:, hard], case_of[hard]), 1.0),
    ]
    distance = _named(first, "hd95")
    if overlap and distance:
        columns.append((_metric(distance, "hd95"), Samples(*_stacked(runs, distance, cases, _NO_HD95)), 1.0))
    still = _STILL["dice" if overlap else "tre"]
    spread = np.array([[run.scores[case][regularity] for case in cases] for run in runs])
    spread[[run.name == REFERENCE or run.is_identity() for run in runs]] = still
    columns.append((_metric(regularity, "sdlogj"), Samples(spread, np.arange(len(cases))), 1.0))
    used = {leading, distance if overlap else "", regularity}
    left_out = {name: "not in learn2reg's rules" for name in first.kinds if name not in used}
    metrics = [metric for metric, _, _ in columns]
    means = np.stack([_case_means(of, len(cases)) for _, of, _ in columns])
    samples = {metric.name: of for metric, of, _ in columns}
    weights = tuple(weight for _, _, weight in columns)
    return table(runs, cases, metrics, means, left_out, samples), weights


def psmareg(runs: Sequence[Run]) -> Results:
    """Return the columns of PSMAReg: Dice, HD95, changes of lesions where there are any, and NDV.

    Both directions of a pair of images are one patient and averaged. NDV below 0.005 % is equal.

    Raises:
        DataError: the runs do not compare, or have no overlap or no NDV.
    """
    refuse_different(runs)
    kinds = runs[0].kinds
    shared = set.intersection(*(run.metrics() for run in runs))
    accuracy = [name for name in kinds if kinds[name] in ("dice", "hd95") and name in shared]
    lesions = [name for name in kinds if (of := metric_of(name)) and of.component == "biomarker"]
    asked = [name for name in kinds if kinds[name] == "ndv"]
    volume = next((name for name in (*asked, *_NDV) if name in shared), None)
    if not accuracy or volume is None:
        expected = "label maps, and NDV as `regeval evaluate` writes it"
        raise DataError(Fault("not what psmareg ranks", "runs", expected, ", ".join(sorted(shared))))
    names = [*accuracy, *(name for name in lesions if name in shared), volume]
    metrics = [_metric(name, "ndv" if name == volume else kinds.get(name, "")) for name in names]
    patients: dict[str, list[str]] = {}
    for case in sorted(runs[0].scores):
        patients.setdefault(" + ".join(sorted(case.split("<--"))), []).append(case)
    values = np.array(
        [[[_mean(run, of, name) for of in patients.values()] for run in runs] for name in names]
    )
    values[-1] = np.maximum(values[-1], _SAME_NDV_PERCENT)
    cases = [of[0] if len(of) == 1 else patient for patient, of in patients.items()]
    left_out = {name: "not in psmareg's rules" for name in kinds if name not in names}
    return table(runs, cases, metrics, values, left_out)


def _mean(run: Run, cases: Sequence[str], metric: str) -> float:
    return float(np.mean([run.scores[case][metric] for case in cases]))


def _named(run: Run, kind: str) -> str | None:
    """Return the first metric of a kind that every case has; where a file names no kinds, names tell."""
    matches: Callable[[str], bool] = {
        "dice": lambda name: name.upper() in ("DSC", "DICE"),
        "hd95": lambda name: name.upper() == "HD95",
        "tre": lambda name: name.upper().startswith("TRE"),
        "sdlogj": lambda name: "LOGJ" in name.upper(),
    }[kind]
    shared = run.metrics()
    return next(
        (
            name
            for name, of in run.kinds.items()
            if (of == kind or (not of and matches(name))) and name in shared
        ),
        None,
    )


def _metric(name: str, kind: str) -> Metric:
    metric = metric_of(name, kind)
    if metric is None:
        raise DataError(Fault("metric of unknown direction", name))
    return metric


def _stacked(
    runs: Sequence[Run], metric: str, cases: Sequence[str], fill: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the detailed values of all cases, (R, S), and the case of each, (S,)."""
    counts = {case: {len(run.detailed.get(case, {}).get(metric, ())) for run in runs} for case in cases}
    if bad := [case for case, lengths in counts.items() if len(lengths) > 1 or 0 in lengths]:
        expected = "as many values of labels or landmarks in all runs"
        raise DataError(Fault("detailed values missing", f"{metric} of {', '.join(bad[:5])}", expected))
    rows = [[value for case in cases for value in run.detailed[case][metric]] for run in runs]
    values = np.array(rows, dtype=np.float64)
    values[~np.isfinite(values)] = fill
    case_of = np.repeat(np.arange(len(cases)), [next(iter(counts[case])) for case in cases])
    return values, case_of


def _hardest_labels(before: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which values of all cases were the lowest 30 % without registration."""
    return np.sort(np.argsort(before, kind="stable")[: max(1, round(_HARDEST * before.size))])


def _hardest_landmarks(before: NDArray[np.float64], case_of: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return which landmarks of each case had the largest 30 % of its initial errors."""
    chosen = []
    for case in np.unique(case_of):
        places = np.flatnonzero(case_of == case)
        order = places[np.argsort(before[places], kind="stable")]
        chosen.append(order[-max(1, round(_HARDEST * places.size)) :])
    return np.sort(np.concatenate(chosen))


def _case_means(samples: Samples, cases: int) -> NDArray[np.float64]:
    """Return (R, cases) means of the values; nan for a case without any."""
    means = np.full((len(samples.values), cases), np.nan)
    for case in range(cases):
        of_case = samples.values[:, samples.case_of == case]
        if of_case.size:
            means[:, case] = of_case.mean(axis=1)
    return means
