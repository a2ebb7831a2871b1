"""What can be wrong with a task, said so that the reader can repair it.

Checks return or collect `Fault`s; the place that cannot continue raises them all at once in a `TaskError`.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

# Of one part of a message; lists of names may take some hundred.
_MAX_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: what, where, what was expected, what was found, what to do about it."""

    what: str
    where: str
    expected: str = ""
    got: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.what}: {_shown(self.where)}"
        if self.expected:
            text += f"; expected {_shown(self.expected)}"
        if self.got:
            text += f"; got {_shown(self.got)}"
        if self.remedy:
            text += f" -> {self.remedy}"
        return text


class TaskError(Exception):
    """One or more faults that stop the work.

    Attributes:
        faults: everything found, in the order of the checks.
        exit_code: exit status of a command that fails with this error.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, first: Fault, *others: Fault) -> None:
        super().__init__(first, *others)
        self.faults: tuple[Fault, ...] = (first, *others)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return str(self.faults[0])
        return "\n".join([f"{len(self.faults)} faults:", *(f"  - {fault}" for fault in self.faults)])


class DataError(TaskError):
    """An input cannot be used: missing, damaged, or not what the task declares."""

    exit_code = 3


class SpaceError(DataError):
    """Two grids that have to agree do not, or the numbers do not make a grid."""


class OutputError(TaskError):
    """A result cannot be written: it exists already, the disk is full, the folder is read-only."""

    exit_code = 4


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _shown(text: str) -> str:
    """Return a stranger's text as one line for a terminal: controls escaped, the middle left out."""
    if len(text) > _MAX_SHOWN:
        kept = _MAX_SHOWN // 2
        text = f"{text[:kept]} [{len(text) - 2 * kept} characters] {text[-kept:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
