"""The pages of a challenge: an overview, a leaderboard a task, a page a team that its people can act on."""

import math
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from regeval.challenge.entries import Entry
from regeval.challenge.judging import JudgedTask
from regeval.challenge.outcome import Outcome
from regeval.challenge.rank_task import RankedTask, rank_task
from regeval.challenge.settings import Settings
from regeval.checking.text import by_kind
from regeval.ranking import leaderboard_csv, render_page
from regeval.ranking.page import Beside, Pictures, fill
from regtask.atomic import atomic_write_text
from regtask.errors import Fault


def write_site(
    tasks: Sequence[JudgedTask], pictures: Sequence[Pictures], site: Path, settings: Settings
) -> list[RankedTask]:
    """Rank every task and write its pages, then the overview; returns the rankings.

    Args:
        tasks: what was judged.
        pictures: those of each task.
        site: folder of the site.
        settings: how it is ranked.

    Raises:
        OutputError: a page cannot be written.
    """
    ranked = [rank_task(task, settings) for task in tasks]
    for task, drawn in zip(ranked, pictures, strict=True):
        _write_task(task, drawn, settings)
    page = fill(_template("index.html.jinja"), tasks=ranked, settings=settings, href=_href)
    atomic_write_text(site / "index.html", page)
    return ranked


def _write_task(task: RankedTask, pictures: Pictures, settings: Settings) -> None:
    folder = task.judged.folder
    links = {entry.name: f"teams/{_href(entry.slug)}.html" for entry in task.judged.entries}
    page, table = folder / "leaderboard.html", folder / "leaderboard.csv"
    if task.board is None:
        page.unlink(missing_ok=True)
        table.unlink(missing_ok=True)
    else:
        beside = Beside(
            links=links,
            unscored=[(entry.name, why) for entry, why in task.unscored()],
            up="../index.html",
            still=task.still,
            pictures=_of_cases(pictures, task.board.results.cases),
        )
        atomic_write_text(page, render_page(task.board, beside))
        atomic_write_text(table, leaderboard_csv(task.board))
    for entry in task.judged.entries:
        text = _team_page(task, entry, pictures.get(entry.name, {}), settings)
        atomic_write_text(folder / "teams" / f"{entry.slug}.html", text)


def _of_cases(pictures: Pictures, cases: Collection[str]) -> Pictures:
    """Return the pictures of what the board calls a case; by some rules that is several pairs."""
    shown = {
        run: {case: address for case, address in of_run.items() if case in cases}
        for run, of_run in pictures.items()
    }
    return {run: of_run for run, of_run in shown.items() if of_run}


def _team_page(task: RankedTask, entry: Entry, pictures: Mapping[str, str], settings: Settings) -> str:
    outcome = task.judged.outcomes[entry.slug]
    standing = None
    if task.board is not None:
        standing = next((one for one in task.board.standings if one.run == entry.name), None)
    return fill(
        _template("team.html.jinja"),
        task=task,
        outcome=outcome,
        entry=entry,
        standing=standing,
        reference=entry.name in settings.references,
        still=entry.name in task.still,
        settings=settings,
        groups=by_kind(_faults(outcome)),
        cases=_cases(task, entry, outcome),
        pictures=pictures,
    )


def _faults(outcome: Outcome) -> list[Fault]:
    """Return each fault once: of a file the evaluation says where it lies, and the check its name alone."""
    return [
        *outcome.refused,
        *(
            one
            for one in outcome.faults
            if not any(
                (one.what, one.expected, one.got) == (other.what, other.expected, other.got)
                and one.where in other.where
                for other in outcome.refused
            )
        ),
    ]


def _cases(task: RankedTask, entry: Entry, outcome: Outcome) -> dict[str, list[tuple[float, float]]]:
    """Return case -> score of the field and of the identity, per metric of the board."""
    if task.board is None or not outcome.scored:
        return {}
    run, names = task.runs[entry.name], [metric.name for metric in task.board.results.metrics]
    before = run.reference.scores if run.reference is not None else {}
    return {
        case: [(scores.get(name, math.nan), before.get(case, {}).get(name, math.nan)) for name in names]
        for case, scores in run.scores.items()
    }


def _template(name: str) -> str:
    return (resources.files("regeval.challenge") / name).read_text("utf-8")


def _href(text: str) -> str:
    return quote(text, safe="")
