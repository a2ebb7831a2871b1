"""Grand Challenge's lists of inputs and outputs: which file plays which part.

Entries describe their slot under `socket` (2026) or `interface` (until 2025). Every challenge names its slots
itself, so a part is found by the words of the slot's slug unless the slug is given.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from regtask.errors import DataError, Fault

Role = Literal["fixed", "moving", "fixed-mask", "moving-mask", "field"]

_MASK_WORDS = frozenset({"mask", "masks", "segmentation", "seg", "label", "labels", "landmarks", "keypoints"})
_FIELD_WORDS = frozenset({"displacement", "deformation", "dvf", "warp", "transform"})
_LONGEST_NAME = 255  # of a folder, on all usual file systems
_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Slot:
    """One image slot of a job.

    Attributes:
        slug: its name, such as "fixed-ct-image".
        relative_path: folder of its one file, below the input or output folder.
        image_name: name of the image as it was uploaded; None where the list does not say.
    """

    slug: str
    relative_path: PurePosixPath
    image_name: str | None

    @property
    def words(self) -> frozenset[str]:
        """Words of the slug in lower case."""
        return frozenset(self.slug.lower().replace("_", "-").split("-"))


def image_slots(entries: object, where: str) -> tuple[Slot, ...]:
    """Return the image slots of a list of inputs or outputs, as in `/input/inputs.json`.

    Args:
        entries: the parsed JSON.
        where: what the list is, for messages.

    Raises:
        DataError: not such a list, or a path that leaves its folder; all faults at once.
    """
    if not isinstance(entries, list):
        raise DataError(Fault("not a list of sockets", where, "a JSON list", type(entries).__name__))
    slots, faults = [], []
    for number, entry in enumerate(entries):
        values = entry if isinstance(entry, dict) else {}
        socket = values.get("socket") or values.get("interface")
        slug, path = (
            (socket.get("slug"), socket.get("relative_path")) if isinstance(socket, dict) else (None, None)
        )
        if not (isinstance(slug, str) and _SLUG.fullmatch(slug) and isinstance(path, str) and path):
            expected = '"socket" (or "interface") with "slug" and "relative_path"'
            faults.append(Fault("not a socket", f"{where}[{number}]", expected, str(entry)[:200]))
            continue
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts:
            faults.append(Fault("path leaves the folder", f"{where}[{number}]", "a path below it", path))
        elif any(len(part) > _LONGEST_NAME for part in relative.parts):
            faults.append(Fault("path too long", f"{where}[{number}]", f"{_LONGEST_NAME} letters", path))
        elif relative.parts[0] == "images":
            image = values.get("image")
            name = image.get("name") if isinstance(image, dict) else None
            slots.append(Slot(slug, relative, name if isinstance(name, str) else None))
    if faults:
        raise DataError(*faults)
    return tuple(slots)


def find_slot(slots: Sequence[Slot], role: Role, slugs: Mapping[str, str], where: str) -> Slot | None:
    """Return the slot that plays a part: the one of the given slug, else the one whose words say so.

    A list with a single image has its field there, whatever the slot is called.

    Args:
        slots: of one job.
        role: the part.
        slugs: role -> slug, where the challenge's names are known.
        where: what the list is, for messages.

    Returns:
        The slot; None where no slug is given for the part and no words say so.

    Raises:
        DataError: the given slug is not there, or several slots could be meant.
    """
    names = ", ".join(slot.slug for slot in slots) or "none"
    if role in slugs:
        found = [slot for slot in slots if slot.slug == slugs[role]]
        if not found:
            raise DataError(Fault("no such socket", where, slugs[role], names))
        return found[0]
    found = [slot for slot in slots if _plays(slot, role)]
    if role == "field" and not found and len(slots) == 1:
        return slots[0]
    if len(found) > 1:
        got = ", ".join(slot.slug for slot in found)
        raise DataError(
            Fault(f"several sockets could be {role!r}", where, "one", got, f"name it: {role}=SLUG")
        )
    return found[0] if found else None


def _plays(slot: Slot, role: Role) -> bool:
    if role == "field":
        return bool(slot.words & _FIELD_WORDS)
    side, _, kind = role.partition("-")
    return side in slot.words and bool(slot.words & _MASK_WORDS) == bool(kind)
