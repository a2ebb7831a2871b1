"""Learn2Reg dataset descriptions: which images form pairs, and what their labels and modalities are called.

The published files differ in their keys and err in their counters, shapes and key point paths. Only the pair
lists are needed, so only they are required to be right; shapes and spacings are read from the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Literal

from regtask.documents import read_json_object
from regtask.errors import DataError, Fault, nearest
from regtask.names import CaseId
from regtask.pair import Pair
from regtask.untrusted.opening import path_fault

Split = Literal["auto", "test", "val", "train"]

# Per split, in order of preference; the later names come from other challenges.
_PAIR_LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "test": ("registration_test", "test_paired_images", "testing"),
        "val": ("registration_val", "validation", "validation_paired_images"),
        "train": ("training_paired_images",),
    }
)
_MOST_DIGITS = 10  # of a label or a modality; labels have 32 bits
_ALL_PAIR_LISTS = tuple(key for keys in _PAIR_LISTS.values() for key in keys)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A task: where its images lie and what the description says of them.

    Attributes:
        name: name of the task.
        root: folder to which the paths in the description are relative.
        labels: label value -> name.
        modalities: modality index -> name.
        raw: the whole description as read.
    """

    name: str
    root: Path
    labels: Mapping[int, str]
    modalities: Mapping[int, str]
    raw: Mapping[str, Any]

    def pairs(self, split: Split = "auto") -> tuple[Pair, ...]:
        """Return the pairs of a split in the order of the description.

        Args:
            split: "test", "val", "train", or "auto": test if it has pairs, else val.

        Raises:
            DataError: no pairs in this split, or entries that do not name a pair within the data folder; all
                faults at once.
            ValueError: unknown split.
        """
        if split != "auto" and split not in _PAIR_LISTS:
            raise ValueError(f"split: expected one of {['auto', *_PAIR_LISTS]}, got {split!r}")
        splits = ("test", "val") if split == "auto" else (split,)
        key = next((key for name in splits for key in _PAIR_LISTS[name] if self.raw.get(key)), None)
        if key is None:
            raise DataError(self._no_pairs(split))
        entries = self.raw[key]
        if not isinstance(entries, list):
            raise DataError(
                Fault("not a list of pairs", f"{self.name}: {key}", "a list", type(entries).__name__)
            )
        pairs: dict[str, Pair] = {}
        faults: list[Fault] = []
        for number, entry in enumerate(entries):
            where = f"{self.name}: {key}[{number}]"
            try:
                pair = Pair.of(*(_image_path(self.root, entry, role, where) for role in ("fixed", "moving")))
            except DataError as error:
                faults.extend(error.faults)
                continue
            if pairs.setdefault(pair.case_key, pair) is not pair:
                remedy = "their fields would have one file name: remove one or renumber the cases"
                faults.append(Fault("pair listed twice", where, got=pair.case_key, remedy=remedy))
        if faults:
            raise DataError(*faults)
        return tuple(pairs.values())

    def modality_of(self, image: Path) -> str:
        """Return the modality of an image, such as "CT" or "MR T2"; "unknown" if the description is silent.

        Raises:
            DataError: the file name has no modality number.
        """
        return self.modalities.get(int(CaseId.of(image).modality), "unknown")

    def _no_pairs(self, split: str) -> Fault:
        present = [f"{key}: {_length(self.raw[key])}" for key in _ALL_PAIR_LISTS if key in self.raw]
        typos = [
            f"is {key!r} meant to be {meant!r}?"
            for key, value in self.raw.items()
            if value and isinstance(value, list) and key not in _ALL_PAIR_LISTS
            if (meant := nearest(key, _ALL_PAIR_LISTS))
        ]
        expected = "registration_test or registration_val" if split == "auto" else _PAIR_LISTS[split][0]
        return Fault(
            f"no pairs in split {split!r}",
            self.name,
            f"a filled list {expected}",
            ", ".join(present) or "no pair list",
            " ".join(typos) or "choose a split that has pairs or add the list",
        )


def read_dataset(path: Path, data_dir: Path | None = None) -> Dataset:
    """Read a dataset description; no image is opened.

    Args:
        path: `{Task}_dataset.json`.
        data_dir: folder to which its paths are relative; by default the folder of the description.

    Raises:
        DataError: no file, or not a JSON object.
    """
    raw = read_json_object(path, "a dataset description")
    return Dataset(
        name=str(raw.get("name") or path.stem.removesuffix("_dataset")),
        root=path.parent if data_dir is None else data_dir,
        labels=_label_names(path, raw.get("labels")),
        modalities=_numbered(path, "modality", raw.get("modality")),
        raw=MappingProxyType(raw),
    )


def _label_names(path: Path, labels: object) -> Mapping[int, str]:
    """Join the label names of all modalities; some files list them once for all, without a modality."""
    if not isinstance(labels, dict) or not any(isinstance(names, dict) for names in labels.values()):
        return _numbered(path, "labels", labels)
    joined: dict[int, str] = {}
    for modality, names in labels.items():
        joined |= _numbered(path, f"labels[{modality!r}]", names)
    return MappingProxyType(joined)


def _numbered(path: Path, key: str, names: object) -> Mapping[int, str]:
    if not isinstance(names, dict):
        return MappingProxyType({})
    faults = [
        Fault("not a number", f"{path}: {key}", 'keys such as "0" or "1"', repr(number))
        for number in names
        if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS)
    ]
    if faults:
        raise DataError(*faults)
    return MappingProxyType({int(number): str(name) for number, name in names.items()})


def _image_path(root: Path, entry: object, role: str, where: str) -> Path:
    text = entry.get(role) if isinstance(entry, dict) else None
    if not isinstance(text, str) or not text:
        expected = '{"fixed": "./imagesTr/..", "moving": "./imagesTr/.."}'
        raise DataError(Fault(f"pair without {role!r} image", where, expected, str(entry)[:200]))
    relative = PurePosixPath(text)
    # A description is data, not a licence to read the rest of the disk.
    if relative.is_absolute() or PureWindowsPath(text).drive or ".." in relative.parts:
        raise DataError(
            Fault("path leaves the data folder", f"{where}.{role}", "a path below the data folder", text)
        )
    path = root / relative
    if fault := path_fault(path):
        raise DataError(replace(fault, where=f"{where}.{role}: {path}"))
    return path


def _length(value: object) -> str:
    return str(len(value)) if isinstance(value, list) else type(value).__name__
