"""Judge one submission: check it, evaluate it, keep what was found. Runs in a process of its own."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from regeval.challenge.entries import Entry
from regeval.challenge.outcome import Outcome, write_outcome
from regeval.challenge.settings import Settings
from regeval.checking import Report, check_submission
from regeval.inputs.config import Config
from regeval.inputs.submission import Submission, opened
from regeval.scoring.evaluate_submission import evaluate
from regeval.scoring.metrics_file import write_metrics
from regtask.errors import DataError, Fault, TaskError

log = logging.getLogger(__name__)

# Faults of this machine, not of the submission: they are tried again the next time.
_OURS = ("not enough memory", "no space to unpack", "cannot unpack", "cannot write", "scoring was killed")


@dataclass(frozen=True, slots=True)
class Job:
    """One submission to one task, and where its results go.

    Attributes:
        entry: the submission.
        config: what to evaluate.
        settings: how.
        key: digest that the outcome is kept under.
        outcome: file of the outcome.
        metrics: metrics file.
    """

    entry: Entry
    config: Config
    settings: Settings
    key: str
    outcome: Path
    metrics: Path


def judge(job: Job) -> None:
    """Check and evaluate a submission and write its outcome; never raises for what is wrong with it."""
    try:
        outcome = _judged(job)
    except TaskError as error:
        outcome = not_scored(job, error.faults)
    except MemoryError:
        remedy = "give it more memory, or fewer --processes; the submission may not be to blame"
        outcome = not_scored(job, [Fault("not enough memory", job.entry.location.name, remedy=remedy)])
    except Exception as error:  # one broken team must not stop the others
        log.exception("%s", job.entry.location)
        fault = Fault("the evaluation itself failed", job.entry.location.name, got=repr(error)[:300])
        outcome = not_scored(
            job, [replace(fault, remedy="tell the organisers: this is not the team's fault")]
        )
        outcome = replace(outcome, key="")
    if any(fault.what.startswith(_OURS) for fault in outcome.refused):
        outcome = replace(outcome, key="")
    write_outcome(job.outcome, outcome)


def not_scored(job: Job, faults: Iterable[Fault]) -> Outcome:
    """Return the outcome of a submission that cannot be scored."""
    return Outcome(job.key, job.entry.name, job.entry.location.name, False, tuple(_local(job, faults)))


def _judged(job: Job) -> Outcome:
    if job.entry.fault is not None:
        raise DataError(job.entry.fault)
    with opened(job.entry.location) as submission:
        report = _checked(job, submission)
        outcome = Outcome(
            job.key,
            job.entry.name,
            job.entry.location.name,
            scored=True,
            faults=tuple(_local(job, report.faults)),
            notes=report.notes,
            verdict=report.verdict,
            sizes=tuple((one.kind, one.submitted, one.zero) for one in report.summaries),
        )
        try:
            document = evaluate(
                job.config,
                submission,
                job.settings.mode,
                layout=job.settings.layout,
                beside=job.settings.processes,
            )
        except TaskError as error:
            return replace(outcome, scored=False, refused=tuple(_local(job, error.faults)))
        stand_ins = {case: _shorter(job, why) for case, why in document["missing"]["cases"].items()}
        document["missing"]["cases"] = stand_ins
        write_metrics(job.metrics, document, strict_json=True)
        return replace(outcome, stand_ins=stand_ins)


def _checked(job: Job, submission: Submission) -> Report:
    """Check; a task whose images are missing can be evaluated all the same."""
    try:
        return check_submission(job.config.pairs, submission, job.settings.layout)
    except DataError as error:
        note = f"whether the fields make sense could not be checked: {error.faults[0].what}"
        return Report((), (note,), len(job.config.pairs), 0, 0, (), ())


def _local(job: Job, faults: Iterable[Fault]) -> Iterable[Fault]:
    """Return faults whose places are those within the submission, not on the organisers' machine."""
    return (
        replace(
            fault,
            where=_shorter(job, fault.where),
            got=_shorter(job, fault.got),
            expected=_shorter(job, fault.expected),
        )
        for fault in dict.fromkeys(faults)
    )


def _shorter(job: Job, text: str) -> str:
    home = job.entry.location
    return text.replace(str(home), home.name).replace(f"{home.parent}/", "")
