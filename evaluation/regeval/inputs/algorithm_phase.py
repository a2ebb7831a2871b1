"""Grand Challenge's algorithm phase: the outputs of many jobs become one submission.

Each job registered one pair and left its displacement field, LPS millimetres on the fixed image's grid, in a
folder named after the job. Jobs come in any order; which pair each was is told by the names of its inputs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regtask.documents import read_json
from regtask.errors import DataError, Fault
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.images import read_header
from regtask.metaimage import read_field_mha
from regtask.names import CaseId, field_name_long
from regtask.pair import Companions, Pair
from regtask.physical import lps_to_voxels
from regtask.sockets import Slot, find_slot, image_slots
from regtask.untrusted.opening import lies_there

PREDICTIONS = "predictions.json"
_PRIMARY_KEY = re.compile(r"[0-9A-Za-z_-]+")
_SUFFIXES = (".mha", ".nii.gz", ".nii", ".tiff", ".tif")
# Between the grid of a field and that of its fixed image; platforms round what they store.
_TOLERANCE_MM = 1e-2


@dataclass(frozen=True, slots=True)
class _Prediction:
    """One job: its pair, and the folder that holds its field."""

    pair: Pair
    folder: Path


@dataclass(frozen=True, slots=True)
class JobFaults:
    """What is wrong with single jobs.

    Attributes:
        unassigned: what cannot be laid to one pair; how the jobs are listed or read is at fault.
        by_case: name of the pair -> why its job gave no usable field.
    """

    unassigned: tuple[Fault, ...]
    by_case: Mapping[str, tuple[Fault, ...]]


def gather_fields(folder: Path, pairs: tuple[Pair, ...], slugs: Mapping[str, str], output: Path) -> JobFaults:
    """Write the fields of all jobs as the files of a Learn2Reg submission.

    Args:
        folder: `/input` of the evaluation.
        pairs: pairs of the ground truth.
        slugs: "fixed", "moving", "field" -> slug, where the words of the slugs do not tell.
        output: folder for the fields, `disp_*.nii`, in voxels.

    Returns:
        What is wrong with single jobs; their fields are not written.

    Raises:
        DataError: the list of jobs cannot be used.
        OutputError: a field cannot be written.
    """
    known = {(pair.fixed_id, pair.moving_id): pair for pair in pairs}
    unassigned: list[Fault] = []
    by_case: dict[str, tuple[Fault, ...]] = {}
    seen: set[Pair] = set()
    for number, entry in enumerate(_read_list(folder / PREDICTIONS)):
        where = f"{folder / PREDICTIONS}[{number}]"
        try:
            pair = _pair(entry, known, slugs, where)
            if pair in seen:
                raise DataError(Fault("pair predicted twice", where, got=pair.case_key))
        except DataError as error:
            unassigned.extend(error.faults)
            continue
        seen.add(pair)
        try:
            _convert(_prediction(entry, pair, slugs, folder, where), output)
        except DataError as error:
            by_case[pair.case_key] = error.faults
    return JobFaults(tuple(unassigned), by_case)


def _read_list(path: Path) -> list[Any]:
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise DataError(Fault("no predictions", str(path), "a filled JSON list"))
    return entries


def _pair(
    entry: object, known: Mapping[tuple[CaseId, CaseId], Pair], slugs: Mapping[str, str], where: str
) -> Pair:
    values = entry if isinstance(entry, dict) else {}
    key = values.get("pk")
    if not (isinstance(key, str) and _PRIMARY_KEY.fullmatch(key)):
        raise DataError(Fault("prediction without a usable pk", where, got=str(key)[:200]))
    inputs = image_slots(values.get("inputs"), f"{where}.inputs")
    fixed = _case_of(find_slot(inputs, "fixed", slugs, f"{where}.inputs"), "fixed", where)
    moving = _case_of(find_slot(inputs, "moving", slugs, f"{where}.inputs"), "moving", where)
    pair = known.get((fixed, moving))
    if pair is None:
        raise DataError(Fault("not a pair of the ground truth", where, got=f"{fixed}<--{moving}"))
    return pair


def _prediction(
    values: Mapping[str, Any], pair: Pair, slugs: Mapping[str, str], folder: Path, where: str
) -> _Prediction:
    if values.get("status", "Succeeded") != "Succeeded":
        raise DataError(Fault("job failed", where, "status Succeeded", str(values["status"])[:200]))
    outputs = image_slots(values.get("outputs"), f"{where}.outputs")
    field = find_slot(outputs, "field", slugs, f"{where}.outputs")
    if field is None:
        got = ", ".join(slot.slug for slot in outputs) or "no images"
        raise DataError(Fault("no displacement field", where, got=got, remedy="--socket field=SLUG"))
    return _Prediction(pair, folder / values["pk"] / "output" / field.relative_path)


def _case_of(slot: Slot | None, role: str, where: str) -> CaseId:
    if slot is None or slot.image_name is None:
        remedy = f"--socket {role}=SLUG"
        raise DataError(Fault(f"no {role} image", where, "an input image with a name", remedy=remedy))
    stem = next(
        (slot.image_name[: -len(s)] for s in _SUFFIXES if slot.image_name.endswith(s)), slot.image_name
    )
    return CaseId.of(Path(f"{stem}.nii.gz"))


def _convert(job: _Prediction, output: Path) -> None:
    files = sorted(job.folder.glob("*.mha"))
    if len(files) != 1:
        raise DataError(Fault("one field is needed", str(job.folder), "one .mha file", str(len(files))))
    vectors, grid = read_field_mha(files[0])
    fixed = _grid_of(job.pair, "fixed") or grid
    moving = _grid_of(job.pair, "moving") or fixed
    if not grid.matches(fixed, _TOLERANCE_MM):
        raise DataError(
            Fault("field on another grid", str(files[0]), "that of the fixed image", fixed.differences(grid))
        )
    name = field_name_long(job.pair.fixed_id, job.pair.moving_id).removesuffix(".gz")
    write_field(output / name, lps_to_voxels(vectors, fixed, moving), fixed, moving)


def _grid_of(pair: Pair, role: str) -> Grid | None:
    """Return the grid of one image, from whatever file of it the ground truth has."""
    companions = (Companions(pair.fixed, pair.moving), pair.labels(), pair.masks())
    paths: Iterator[Path | None] = (getattr(files, role) for files in companions)
    found = next((path for path in paths if path is not None and lies_there(path)), None)
    return None if found is None else read_header(found).grid
