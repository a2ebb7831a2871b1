"""Which pictures an organiser asked for."""

from collections.abc import Sequence

from regeval.challenge.settings import Settings
from regtask.errors import Fault, nearest

ALL = "all"


def is_drawn(case: str, team: str, settings: Settings) -> bool:
    """Tell whether a case of a submission was asked for; --pictures-of alone asks for all its cases."""
    cases = settings.pictures or ((ALL,) if settings.pictures_of else ())
    teams = settings.pictures_of
    return (ALL in cases or case in cases) and (not teams or team in teams)


def lost_pictures(cases: Sequence[str], teams: Sequence[str], settings: Settings) -> list[Fault]:
    """Return a fault per case or submission that was asked for and that no task has."""
    faults = []
    for option, wanted, known in (
        ("--pictures", settings.pictures, (ALL, *cases)),
        ("--pictures-of", settings.pictures_of, teams),
    ):
        for name in wanted:
            if name not in known:
                guess = nearest(name, known)
                remedy = f"is {guess!r} meant?" if guess else f"one is {known[-1]!r}; mind the quotes"
                faults.append(Fault("nothing of this name to draw", f"{option} {name}", remedy=remedy))
    return faults
