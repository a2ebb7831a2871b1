"""Sequences with a template and labels: CINE.json that lists them, or a single one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dinoreg.motion.cines.cine import Cine, check_frame, read_cine, read_cine_labels
from regtask.dataset import read_dataset
from regtask.errors import DataError, Fault


class Entry(BaseModel):
    """One sequence of CINE.json; paths are relative to its folder."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: Annotated[str, Field(min_length=1, pattern=r"^[^/\\]+$")]
    frames: Annotated[str, Field(min_length=1)]
    template_frame: Annotated[int, Field(ge=0)]
    labels: str = ""
    labelled_frames: tuple[Annotated[int, Field(ge=0)], ...] = ()
    frame_axis: Annotated[int, Field(ge=0, le=2)] = 2


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCine:
    """A sequence, its template and what is known of it.

    Attributes:
        id: its name in CINE.json.
        cine: the frames.
        template: number of the template frame.
        labels: number of a frame -> its labels, (X, Y); of the labelled frames.
    """

    id: str
    cine: Cine
    template: int
    labels: Mapping[int, NDArray[np.integer]]

    @property
    def target(self) -> NDArray[np.bool_] | None:
        """The labelled pixels of the template, (X, Y), or None."""
        labels = self.labels.get(self.template)
        return None if labels is None or not labels.any() else labels > 0


def read_cine_dataset(path: Path) -> tuple[LabelledCine, ...]:
    """Read CINE.json and every sequence that it lists.

    Raises:
        DataError: no sequences, entries that are not understood, or files that do not fit; all at once.
    """
    dataset = read_dataset(path)
    listed = dataset.raw.get("sequences")
    if not isinstance(listed, list) or not listed:
        raise DataError(Fault("no sequences", str(path), 'a filled list "sequences"', type(listed).__name__))
    found: dict[str, LabelledCine] = {}
    faults: list[Fault] = []
    for number, raw in enumerate(listed):
        where = f"{path}: sequences[{number}]"
        try:
            sequence = _sequence(path.parent, _entry(raw, where), where)
        except DataError as error:
            faults.extend(error.faults)
            continue
        if found.setdefault(sequence.id, sequence) is not sequence:
            faults.append(Fault("sequence listed twice", where, got=sequence.id))
    if faults:
        raise DataError(*faults)
    return tuple(found.values())


def read_single(
    frames: Path, template: int, labels: Path | None = None, *, frame_axis: int = 2
) -> LabelledCine:
    """Read one sequence that no CINE.json describes.

    Args:
        frames: the sequence.
        template: number of its template frame.
        labels: of the template frame alone, or of all frames; None where there are none.
        frame_axis: array axis of the frames.

    Raises:
        DataError: not readable, or the frame does not exist.
    """
    cine = read_cine(frames, frame_axis=frame_axis)
    check_frame(template, cine, str(frames))
    found = {} if labels is None else read_cine_labels(labels, cine, (template,))
    return LabelledCine(frames.name.split(".")[0], cine, template, found)


def choose(sequences: Sequence[LabelledCine], only: Sequence[str] | None) -> tuple[LabelledCine, ...]:
    """Return the sequences with these names, or all.

    Raises:
        DataError: the sequence does not exist.
    """
    known = {sequence.id: sequence for sequence in sequences}
    faults = [
        Fault("no such sequence", name, expected=f"one of {', '.join(known)}")
        for name in only or ()
        if name not in known
    ]
    if faults:
        raise DataError(*faults)
    return tuple(known[name] for name in only or known)


def _entry(raw: Any, where: str) -> Entry:
    try:
        return Entry.model_validate(_with_tuples(raw))
    except ValidationError as error:
        faults = [
            Fault(
                "sequence not understood",
                ".".join([where, *(str(part) for part in detail["loc"])]),
                expected=detail["msg"],
                got="" if detail["type"] == "missing" else repr(detail["input"])[:100],
                remedy="name the template frame by its number, from 0"
                if detail["loc"] == ("template_frame",)
                else "",
            )
            for detail in error.errors()
        ]
        raise DataError(*faults) from error


def _with_tuples(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}


def _sequence(root: Path, entry: Entry, where: str) -> LabelledCine:
    cine = read_cine(_below(root, entry.frames, where), frame_axis=entry.frame_axis)
    check_frame(entry.template_frame, cine, where)
    for number in entry.labelled_frames:
        check_frame(number, cine, where, "labelled")
    labels = {}
    if entry.labels:
        labels = read_cine_labels(_below(root, entry.labels, where), cine, entry.labelled_frames)
    return LabelledCine(entry.id, cine, entry.template_frame, labels)


def _below(root: Path, text: str, where: str) -> Path:
    path = (root / text).resolve()
    if not path.is_relative_to(root.resolve()):
        # A description is data, not a licence to read the rest of the disk.
        raise DataError(Fault("path leaves the data folder", where, "a path below the data folder", text))
    return path
