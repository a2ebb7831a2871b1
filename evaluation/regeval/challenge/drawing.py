"""Pictures of what submissions do to the images, of those cases that the organiser asked for."""

from collections.abc import Sequence
from pathlib import Path

from regeval.challenge.digests import digest_drawing, digest_of
from regeval.challenge.draw_entry import Drawing, draw
from regeval.challenge.judging import JudgedTask, Say
from regeval.challenge.picture_choice import is_drawn
from regeval.challenge.pool import in_processes
from regeval.challenge.settings import Settings
from regeval.ranking.page import Pictures
from regtask.errors import Fault, OutputError

FOLDER = "pictures"


def draw_pictures(tasks: Sequence[JudgedTask], settings: Settings, say: Say) -> list[Pictures]:
    """Draw what was asked for and is not there yet; pictures that nobody asked for any more are removed.

    Args:
        tasks: what was judged; without a score, or for a case without a usable field, there is no picture.
        settings: which ones.
        say: takes a line of progress.

    Returns:
        Per task, the pictures that there are; addresses are within its folder.

    Raises:
        OutputError: the site cannot be written.
    """
    program = digest_drawing()
    return [_draw_task(task, settings, program, say) for task in tasks]


def _draw_task(task: JudgedTask, settings: Settings, program: str, say: Say) -> Pictures:
    drawings = [one for one in _drawings(task, settings, program) if one.cases]
    todo = [one for one in drawings if not one.drawn() >= set(one.cases)]
    for one in todo:
        try:
            one.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                Fault("cannot make folder", str(one.folder), got=str(error.strerror))
            ) from error
    for done, (one, code) in enumerate(in_processes(draw, todo, settings.processes), 1):
        lacking = len(set(one.cases) - one.drawn())
        status = f" (exit code {code})" if code else ""
        failed = f", {lacking} could not be drawn{status}" if lacking else ""
        say(f"{task.name}: pictures {done}/{len(todo)}: {one.entry.name}{failed}")
    _forget_others(task.folder, drawings)
    pictures = {}
    for one in drawings:
        there = one.drawn()
        files = {
            case: one.file(case).relative_to(task.folder).as_posix() for case in one.cases if case in there
        }
        if files:
            pictures[one.entry.name] = files
    return pictures


def _drawings(task: JudgedTask, settings: Settings, program: str) -> list[Drawing]:
    found = []
    for entry in task.entries:
        outcome = task.outcomes[entry.slug]
        cases = [pair.case_key for pair in task.config.pairs if outcome.scored]
        found.append(
            Drawing(
                entry,
                task.config,
                settings.layout,
                tuple(
                    case
                    for case in cases
                    if case not in outcome.stand_ins and is_drawn(case, entry.name, settings)
                ),
                digest_of(outcome.key, program),
                task.folder / FOLDER / entry.slug,
                task.folder / "results" / f"{entry.slug}.pictures",
            )
        )
    return found


def _forget_others(folder: Path, drawings: Sequence[Drawing]) -> None:
    """Remove what was not asked for, from folders that are the program's own."""
    known = {one.file(case) for one in drawings for case in one.drawn() & set(one.cases)}
    records = {one.record for one in drawings}
    for record in (folder / "results").glob("*.pictures"):
        if record not in records:
            record.unlink(missing_ok=True)
    for picture in (folder / FOLDER).glob("*/*.svg"):
        if picture not in known:
            picture.unlink(missing_ok=True)
    for place in (*(folder / FOLDER).glob("*/"), folder / FOLDER):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
