"""One broken input, and what may come of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

# Exit codes that the programs document; whatever else comes out is a fault.
DOCUMENTED: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        "dinoreg": frozenset({0, 2, 3, 4, 5, 6, 7, 130, 143}),
        "container": frozenset({0, 2, 3, 4, 5, 6, 7, 130, 143}),
        "regeval": frozenset({0, 1, 2, 3, 4, 130, 143}),
        "evaluation": frozenset({0, 1, 2, 3, 4, 130, 143}),
    }
)
DATA, OUTPUT, USAGE = 3, 4, 2


@dataclass(frozen=True)
class Case:
    """A broken input given to one command.

    Attributes:
        name: unique; says the kind, what is wrong and who reads it.
        program: key of `DOCUMENTED`.
        make: writes the input below a folder that already holds the sound task `task/`; returns the
            arguments of the program.
        codes: exit codes that are right for it.
        says: text that standard error has to contain; empty for none.
        kept: files below the folder that have to be as they were.
        heavy: left out of the short campaign.
    """

    name: str
    program: str
    make: Callable[[Path], list[str]]
    codes: frozenset[int] = frozenset({DATA})
    says: str = ""
    kept: tuple[str, ...] = ()
    heavy: bool = False


@dataclass(frozen=True)
class Play:
    """A longer course of events, with processes of its own; returns what went wrong.

    Attributes:
        name: unique.
        act: plays it below a folder that already holds the sound task `task/`.
        heavy: left out of the short campaign.
    """

    name: str
    act: Callable[[Path], list[str]]
    heavy: bool = True


@dataclass
class Outcome:
    """What came of a case."""

    name: str
    code: int
    seconds: float
    megabytes: float
    problems: list[str] = field(default_factory=list)


def words(*parts: object) -> list[str]:
    """Return arguments as text."""
    return [str(part) for part in parts]


def unique(cases: Iterable[Case | Play]) -> list[Case | Play]:
    """Return the cases; two of one name are a mistake."""
    listed = list(cases)
    names = [case.name for case in listed]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"cases of one name: {sorted(twice)}")
    return listed
