"""From the outcomes of a task to its ranking."""

from collections.abc import Mapping
from dataclasses import dataclass

from regeval.challenge.entries import Entry
from regeval.challenge.judging import JudgedTask
from regeval.challenge.settings import Settings
from regeval.ranking import REFERENCE, Leaderboard, Run, prepare, rank_runs, read_run, with_reference
from regtask.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class RankedTask:
    """One task of the site.

    Attributes:
        judged: the outcomes.
        runs: team -> its metrics, of those that were scored.
        still: names of teams whose fields move nothing; compared, but not ranked.
        board: the ranking; None where there is none.
        problem: why there is none.
    """

    judged: JudgedTask
    runs: Mapping[str, Run]
    still: frozenset[str]
    board: Leaderboard | None
    problem: str = ""

    def unscored(self) -> list[tuple[Entry, str]]:
        """Return the submissions that were not scored, and why."""
        outcomes = self.judged.outcomes
        return [
            (entry, outcomes[entry.slug].reason)
            for entry in self.judged.entries
            if not outcomes[entry.slug].scored
        ]


def rank_task(judged: JudgedTask, settings: Settings) -> RankedTask:
    """Rank what was scored; the identity, the references and teams that move nothing take no rank."""
    runs = {
        entry.name: read_run(entry.name, judged.metrics(entry))
        for entry in judged.entries
        if judged.outcomes[entry.slug].scored
    }
    still = frozenset(name for name, run in runs.items() if run.is_identity())
    if not runs:
        return RankedTask(judged, runs, still, None, "no submission could be scored")
    try:
        made = prepare(settings.method, with_reference(list(runs.values())))
    except DataError as error:
        return RankedTask(judged, runs, still, None, "; ".join(map(str, error.faults)))
    present = [name for name in settings.references if name in made.results.runs]
    outside = {REFERENCE, *settings.references, *still}
    if not set(made.results.runs) - outside:
        return RankedTask(judged, runs, still, None, "no submission moves anything")
    board = rank_runs(
        made.results,
        made.scheme,
        bootstrap=settings.bootstrap,
        reference=next(iter([*present, REFERENCE])) if made.scheme.counts_wins else None,
        unranked=outside,
        why=made.why,
    )
    return RankedTask(judged, runs, still, board)
