"""LUMIR's calls: a description that is mounted as a file of its own, images and fields in two folders.

2024: /LUMIR_dataset.json, /input, /output. 2025: /app/LUMIR25_dataset.json, /app/input, /app/output. Both
evaluators want the names of fields that Learn2Reg's of 2024 wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regtask.errors import DataError, Fault

NAMING = "output.naming=2024"
_HOMES = (Path(), Path("app"))  # below the root of the container


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where a call of LUMIR's puts things.

    Attributes:
        description: the dataset JSON.
        images: where its paths begin.
        fields: where the fields go.
    """

    description: Path
    images: Path
    fields: Path


def find_mounts(root: Path) -> Mounts | None:
    """Return the mounts of a call of LUMIR's; None where there is none.

    Args:
        root: of the container.

    Raises:
        DataError: more than one description is mounted.
    """
    found = [
        (root / home, path) for home in _HOMES for path in sorted((root / home).glob("LUMIR*_dataset.json"))
    ]
    if not found:
        return None
    if len(found) > 1:
        got = ", ".join(str(path) for _, path in found)
        raise DataError(Fault("one description is needed", str(root), "one LUMIR*_dataset.json", got))
    home, description = found[0]
    return Mounts(description, home / "input", home / "output")
