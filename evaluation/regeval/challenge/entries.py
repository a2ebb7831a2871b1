"""The submissions of a challenge: what lies in a folder, one a team."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from regtask.errors import DataError, Fault

_ARCHIVES = (".zip", ".tar.gz", ".tgz")
_MAX_SLUG = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """What one team handed in.

    Attributes:
        name: of the team: that of the folder or archive, without the ending.
        location: the folder or archive.
        fault: why it cannot even be opened; None if it can be tried.
    """

    name: str
    location: Path
    fault: Fault | None = None

    @property
    def slug(self) -> str:
        """A file name for the team's pages, different for each team and harmless whatever it is called."""
        return unique_name(self.name)


def file_name(name: str) -> str:
    """Return a harmless name for a file or folder; several names may share it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_MAX_SLUG] or "unnamed"


def unique_name(name: str) -> str:
    """Return a harmless name for a file or folder that no other name has."""
    return f"{file_name(name)}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def find_entries(folder: Path, taken: Collection[str] = ()) -> tuple[Entry, ...]:
    """List the submissions in a folder, sorted by name.

    Hidden files are none; every other file or folder is one, since a team whose file is of no use has to be
    told.

    Args:
        folder: of the submissions.
        taken: names of rows that no team may have; a team of that name gets " (team)" behind it.

    Raises:
        DataError: no such folder, or nothing in it.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            Fault("cannot read", str(folder), "a folder", error.strerror or str(error))
        ) from error
    if not paths:
        expected = "folders, .zip or .tar.gz, one a team"
        raise DataError(Fault("no submissions", str(folder), expected, "an empty folder"))
    names = [_name(path, taken) for path in paths]
    count = Counter(names)
    return tuple(
        Entry(
            name if count[name] == 1 else f"{name} [{path.name}]",
            path,
            _fault(path, [other.name for other, same in zip(paths, names, strict=True) if same == name]),
        )
        for name, path in zip(names, paths, strict=True)
    )


def _name(path: Path, taken: Collection[str]) -> str:
    ending = next((one for one in _ARCHIVES if path.is_file() and path.name.lower().endswith(one)), "")
    # What is not printable would act on a terminal.
    name = "".join(one if one.isprintable() else "?" for one in path.name[: len(path.name) - len(ending)])
    name = name.strip() or path.name
    return f"{name} (team)" if name in taken else name


def _fault(path: Path, files: list[str]) -> Fault | None:
    if len(files) > 1:
        remedy = "leave one of them"
        return Fault("one team, several submissions", path.name, "one", ", ".join(files), remedy)
    if path.is_dir() or (path.is_file() and path.name.lower().endswith(_ARCHIVES)):
        return None
    remedy = "pack the fields as .zip or .tar.gz, or put them into a folder"
    return Fault("not a submission", path.name, "a folder, .zip or .tar.gz", path.suffix or "a file", remedy)
