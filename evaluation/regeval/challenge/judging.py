"""All tasks of a challenge, from a folder of submissions to a site."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regeval.challenge.digests import digest_evaluator, digest_of, digest_submission, digest_task
from regeval.challenge.entries import Entry, file_name, find_entries
from regeval.challenge.judge_entry import Job, judge, not_scored
from regeval.challenge.outcome import Outcome, read_outcome, write_outcome
from regeval.challenge.picture_choice import lost_pictures
from regeval.challenge.pool import in_processes
from regeval.challenge.settings import Settings
from regeval.checking.task import check_task, format_task_report
from regeval.inputs.config import Config, config_of
from regeval.inputs.ground_truth import read_truth
from regeval.ranking import REFERENCE
from regtask.atomic import atomic_write_text
from regtask.dataset import Dataset, read_dataset
from regtask.errors import DataError, Fault, OutputError, nearest

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class JudgedTask:
    """One task with the outcomes of all its submissions.

    Attributes:
        name: of the task.
        folder: its part of the site.
        entries: the submissions.
        outcomes: slug -> what became of it.
        check: what the check of the task itself found.
        sound: whether it found no faults.
        config: what was evaluated.
    """

    name: str
    folder: Path
    entries: tuple[Entry, ...]
    outcomes: Mapping[str, Outcome]
    check: str
    sound: bool
    config: Config

    def metrics(self, entry: Entry) -> Path:
        """Return the metrics file of a submission that was scored."""
        return self.folder / "results" / f"{entry.slug}.json"


def judge_challenge(
    datasets: Sequence[Path], submissions: Path, site: Path, settings: Settings, say: Say
) -> list[JudgedTask]:
    """Check and evaluate every submission to every task; what has not changed is not done again.

    Args:
        datasets: dataset descriptions, one a task.
        submissions: folder of submissions or, for several tasks, of one such folder a task, named like it.
        site: folder of the site, made if need be.
        settings: how.
        say: takes a line of progress.

    Raises:
        DataError: a task or the folder of submissions cannot be used, or a reference, or a case or submission
            that is to be drawn, is not there.
        OutputError: the site cannot be written.
    """
    tasks = [(path, read_dataset(path)) for path in datasets]
    _refuse_same_names([dataset for _, dataset in tasks])
    prepared = []
    faults: list[Fault] = []
    for path, dataset in tasks:
        folder = submissions if len(tasks) == 1 else submissions / dataset.name
        try:
            config = replace(config_of(dataset, settings.split, masked=True), missing=settings.missing)
            _refuse_unusable(config)
            entries = find_entries(folder, (REFERENCE,))
            _refuse_lost_references(settings, entries, folder)
        except DataError as error:
            faults += error.faults
            continue
        prepared.append((path, dataset, config, entries))
    if not faults:
        faults += lost_pictures(
            [pair.case_key for _, _, config, _ in prepared for pair in config.pairs],
            [entry.name for _, _, _, entries in prepared for entry in entries],
            settings,
        )
    if faults:
        raise DataError(*faults)
    program = digest_evaluator()
    return [
        _judge_task(path, dataset, config, entries, site, settings, program, say)
        for path, dataset, config, entries in prepared
    ]


def _judge_task(
    path: Path,
    dataset: Dataset,
    config: Config,
    entries: tuple[Entry, ...],
    site: Path,
    settings: Settings,
    program: str,
    say: Say,
) -> JudgedTask:
    folder = site / file_name(dataset.name)
    results = folder / "results"
    for place in (results, folder / "teams"):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(Fault("cannot make folder", str(place), got=str(error.strerror))) from error
    truth = digest_of(digest_task(dataset, settings.split, path), program, settings.judging())
    check, sound = _task_check(results / "task.check", dataset, settings, truth)
    if not sound:
        say(f"{dataset.name}: the task itself has faults, see regeval check --task {path}")
    jobs = [
        Job(
            entry,
            config,
            settings,
            digest_of(truth, entry.name, entry.location.name, digest_submission(entry.location)),
            results / f"{entry.slug}.outcome",
            results / f"{entry.slug}.json",
        )
        for entry in entries
    ]
    outcomes: dict[str, Outcome] = {}
    todo = []
    for job in jobs:
        known = read_outcome(job.outcome)
        if known is not None and known.key == job.key and (not known.scored or job.metrics.is_file()):
            outcomes[job.entry.slug] = known
        else:
            todo.append(job)
    if outcomes:
        say(f"{dataset.name}: {len(outcomes)} of {len(jobs)} submissions have not changed")
    for done, (job, code) in enumerate(in_processes(judge, todo, settings.processes), 1):
        outcome = read_outcome(job.outcome)
        if outcome is None or code != 0 or outcome.key not in ("", job.key):
            remedy = "more memory, or fewer --processes; the submission may not be to blame"
            fault = Fault(
                "the evaluation was killed", job.entry.location.name, got=f"exit code {code}", remedy=remedy
            )
            outcome = replace(not_scored(job, [fault]), key="")
            write_outcome(job.outcome, outcome)
        outcomes[job.entry.slug] = outcome
        what = "scored" if outcome.scored else f"not scored: {outcome.reason}"
        say(f"[{done}/{len(todo)}] {dataset.name}: {job.entry.name}: {what}")
    _forget_others(results, {f"{entry.slug}{end}" for entry in entries for end in (".outcome", ".json")})
    _forget_others(folder / "teams", {f"{entry.slug}.html" for entry in entries})
    return JudgedTask(dataset.name, folder, entries, outcomes, check, sound, config)


def _task_check(path: Path, dataset: Dataset, settings: Settings, key: str) -> tuple[str, bool]:
    """Return the report on the task and whether it is sound, from the file if nothing has changed."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["text"]), bool(known["sound"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    report = check_task(dataset, settings.split)
    text = format_task_report(dataset.name, report).replace(f"{dataset.root}/", "")
    content = {"key": key, "text": text, "sound": not report.faults}
    atomic_write_text(path, json.dumps(content) + "\n")
    return text, not report.faults


def _refuse_same_names(datasets: Sequence[Dataset]) -> None:
    names = [dataset.name for dataset in datasets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(Fault("tasks of one name", ", ".join(twice), "one name per --dataset"))


def _refuse_unusable(config: Config) -> None:
    """Read the ground truth of every pair: what is wrong with it must not be counted against the teams."""
    faults: list[Fault] = []
    for pair in config.pairs:
        try:
            read_truth(config, pair)
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError(*dict.fromkeys(faults))


def _refuse_lost_references(settings: Settings, entries: Sequence[Entry], folder: Path) -> None:
    names = [entry.name for entry in entries]
    faults = []
    for name in settings.references:
        if name not in (REFERENCE, *names):
            guess = nearest(name, names)
            remedy = f"is {guess!r} meant?" if guess else "put its fields there as if it were a team"
            faults.append(Fault("no such reference", f"--reference {name}", f"in {folder}", remedy=remedy))
    if faults:
        raise DataError(*faults)


def _forget_others(folder: Path, known: set[str]) -> None:
    """Remove the files of teams that have withdrawn, from a folder that is the program's own."""
    for path in folder.iterdir():
        if path.suffix in (".html", ".json", ".outcome") and path.name not in known:
            path.unlink(missing_ok=True)
