"""What a pair was made from, so that a resumed run notices what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regtask.dataset import Dataset
from regtask.digest import file_sha256
from regtask.pair import Pair


class InputDigests:
    """Digests of the files of pairs; a file is read once, however many pairs use it, unless it changes."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._known: dict[tuple[Path, int, int], str] = {}

    def of(self, pair: Pair) -> dict[str, Any]:
        """Return the parts of a manifest entry that say what the pair is made from.

        Returns:
            "inputs": the SHA-256 of "fixed", "moving", and of "fixed_mask" and "moving_mask" where there are
            such files, None for a file that cannot be read; "modalities": as the description states them.
        """
        masks = pair.masks()
        files = {"fixed": pair.fixed, "moving": pair.moving}
        files |= {f"{role}_mask": file for role, file in masks._asdict().items() if file is not None}
        return {
            "inputs": {role: self._digest(path) for role, path in files.items()},
            "modalities": {
                "fixed": self._dataset.modality_of(pair.fixed),
                "moving": self._dataset.modality_of(pair.moving),
            },
        }

    def _digest(self, path: Path) -> str | None:
        try:
            facts = path.stat()
            key = (path, facts.st_mtime_ns, facts.st_size)
            if key not in self._known:
                self._known[key] = file_sha256(path)
        except OSError:
            return None
        return self._known[key]


def changes(entry: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what differs between what a pair was made from and what is there now.

    A file that cannot be read now is no change: the field made from it is better than none.

    Args:
        entry: of the manifest.
        now: as `InputDigests.of` returns it.
    """
    if not isinstance(entry.get("inputs"), dict) or not isinstance(entry.get("modalities"), dict):
        return ["its inputs were not recorded"]
    before, after = entry["inputs"], now["inputs"]
    found = [f"{role} added" for role in after if role not in before]
    found += [f"{role} removed" for role in before if role not in after]
    found += [
        f"{role} changed" for role in after if role in before and after[role] not in (None, before[role])
    ]
    found += [
        f"modality of {role} changed"
        for role, name in now["modalities"].items()
        if entry["modalities"].get(role) != name
    ]
    return found
