"""Evaluate a submission: every pair of a configuration, in processes of their own where asked for."""

import multiprocessing
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from regeval.inputs.config import Config
from regeval.inputs.ground_truth import read_truth
from regeval.inputs.submission import MemoryShortageError, Submission, missing_field
from regeval.scoring.metrics_file import metrics_document
from regeval.scoring.official_rules import official_scores
from regeval.scoring.pair_measures import Measures, measure
from regeval.scoring.regularity_scores import field_scores
from regeval.scoring.score import BothScores, Mode
from regeval.scoring.stand_ins import StandIn, marked, stand_in_measures
from regeval.scoring.strict_rules import strict_scores
from regtask.errors import DataError, Fault, TaskError
from regtask.fields import Layout
from regtask.pair import Pair


@dataclass(frozen=True, slots=True)
class _Job:
    """One pair: what a process needs to score it."""

    config: Config
    pair: Pair
    submission: Submission | None
    layout: Layout
    threads: int
    scored: bool
    known: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a pair: both scores and whose they are, or what is wrong with it."""

    after: BothScores | None = None
    before: BothScores | None = None
    stand_in: StandIn | None = None
    faults: tuple[Fault, ...] = ()


def evaluate(
    config: Config,
    submission: Submission | None,
    mode: Mode,
    *,
    jobs: int = 1,
    layout: Layout = "channel_last",
    unusable: Mapping[str, tuple[Fault, ...]] | None = None,
    beside: int = 1,
) -> dict[str, Any]:
    """Score all pairs of a configuration.

    Args:
        config: what to score.
        submission: the fields; None scores the identity.
        mode: "l2r", the numbers of the official evaluator, or "strict"; those of the other stand beside
            them under names of their own.
        jobs: how many pairs are scored at once, each in a process of its own.
        layout: order of the axes in the files.
        unusable: name of the pair -> why it has no field, where that is known, as of a job that failed.
        beside: how many such evaluations share the processors, this one included.

    Returns:
        The metrics file, see `regeval.scoring.metrics_file`. It does not depend on `jobs`.

    Raises:
        DataError: the submission or the ground truth cannot be used; every file is read, so that all its
            faults are reported at once. Where `config.missing` names a stand-in, a pair without a usable
            field does not count, but a submission without any does.
    """
    known = {} if submission is None else _missing(config, submission, unusable or {})
    faults = [] if submission is None else list(submission.faults)
    if config.missing == "refuse" or faults:
        faults += [fault for several in known.values() for fault in several]
    # With a fault there will be no scores; the other files are read to report theirs as well.
    cores = max(1, (os.cpu_count() or 1) // beside)
    outcomes = _outcomes(config, submission, layout, jobs, not faults, known, cores)
    faults += [fault for outcome in outcomes for fault in outcome.faults]
    if submission is not None and not faults and all(outcome.stand_in for outcome in outcomes):
        faults.append(Fault("no usable field at all", str(submission.location), "one or more"))
        faults += [fault for one in outcomes if one.stand_in for fault in one.stand_in.faults]
    if faults:
        raise DataError(*dict.fromkeys(faults))
    keys = [pair.case_key for pair in config.pairs]
    after = {key: one.after for key, one in zip(keys, outcomes, strict=True) if one.after}
    before = {key: one.before for key, one in zip(keys, outcomes, strict=True) if one.before}
    files: dict[str, str] = {}
    if submission is not None:
        files = {pair.case_key: submission.field_name(pair) or "" for pair in config.pairs}
    stand_ins = {key: one.stand_in for key, one in zip(keys, outcomes, strict=True) if one.stand_in}
    return metrics_document(config, mode, after, before, files, stand_ins)


def _missing(
    config: Config, submission: Submission, unusable: Mapping[str, tuple[Fault, ...]]
) -> dict[str, tuple[Fault, ...]]:
    """Return why pairs have no file that could be read."""
    return {
        pair.case_key: unusable.get(pair.case_key) or (missing_field(pair, submission.location),)
        for pair in config.pairs
        if pair.case_key in unusable or submission.field_name(pair) is None
    }


def _outcomes(
    config: Config,
    submission: Submission | None,
    layout: Layout,
    jobs: int,
    scored: bool,
    known: Mapping[str, tuple[Fault, ...]],
    cores: int,
) -> list[_Outcome]:
    workers = min(jobs, len(config.pairs))
    threads = max(1, cores // workers)
    work = [
        _Job(config, pair, submission, layout, threads, scored, known.get(pair.case_key, ()))
        for pair in config.pairs
    ]
    if workers == 1:
        return [_run(job) for job in work]
    # spawn: a fork of a process with threads may hang
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_run, job) for job in work]
        return [_result(future.result, job) for future, job in zip(futures, work, strict=True)]


def _result(result: Any, job: _Job) -> _Outcome:
    try:
        outcome: _Outcome = result()
    except BrokenProcessPool:
        fault = Fault("scoring was killed", job.pair.case_key, remedy="give it more memory, or fewer --jobs")
        return _Outcome(faults=(fault,))
    return outcome


def _run(job: _Job) -> _Outcome:
    try:
        return _scores(job) if job.scored else _Outcome(faults=tuple(_field_faults(job)))
    except TaskError as error:
        return _Outcome(faults=error.faults)
    except MemoryError:
        fault = Fault("not enough memory", job.pair.case_key, remedy="give it more memory, or fewer --jobs")
        return _Outcome(faults=(fault,))


def _scores(job: _Job) -> _Outcome:
    truth = read_truth(job.config, job.pair)
    name = job.submission and job.submission.field_name(job.pair)
    if job.submission is None or not name or job.known:
        initial = measure(job.config, truth, None, job.threads)
        if job.known:
            return _without_field(job, initial, job.known)
        before = _case_scores(job, initial, initial)
        return _Outcome(before, before)
    with ThreadPoolExecutor(1) as reader:  # unpacking the field and measuring the identity take turns well
        reading = reader.submit(job.submission.read_field, name, truth.shape, job.layout)
        initial = measure(job.config, truth, None, job.threads)
        try:
            field = reading.result()
        except MemoryShortageError:
            raise
        except DataError as error:
            if job.config.missing == "refuse":
                raise
            return _without_field(job, initial, error.faults)
    measures = measure(job.config, truth, field, job.threads, name.endswith(".npz"))
    return _Outcome(_case_scores(job, measures, initial), _case_scores(job, initial, initial))


def _without_field(job: _Job, initial: Measures, faults: tuple[Fault, ...]) -> _Outcome:
    stand_in = StandIn(job.config.missing, faults)
    measures = stand_in_measures(stand_in.policy, initial)
    before = _case_scores(job, initial, initial)
    after = _case_scores(job, measures, initial)
    return _Outcome(marked(after, stand_in), before, stand_in)


def _field_faults(job: _Job) -> Iterable[Fault]:
    """Read the field of a pair, if there is one, for what is wrong with it."""
    name = job.submission and job.submission.field_name(job.pair)
    if job.submission is not None and name:
        try:
            job.submission.read_field(name, job.config.shape, job.layout)
        except TaskError as error:
            yield from error.faults


def _case_scores(job: _Job, measures: Measures, initial: Measures) -> BothScores:
    config, regularity = job.config, field_scores(measures, job.threads)
    return BothScores(
        official=official_scores(config, measures, regularity),
        strict=strict_scores(config, measures, regularity, initial),
        regularity=regularity,
    )
