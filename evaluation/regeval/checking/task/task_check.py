"""Everything that is checked about a task, in one report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from regeval.checking.task.points import point_faults
from regtask.dataset import Dataset, Split
from regtask.errors import DataError, Fault
from regtask.images import read_labels
from regtask.pair import Pair
from regtask.verify import verify_pairs

_KINDS: tuple[Literal["landmarks", "keypoints"], ...] = ("landmarks", "keypoints")
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What the check of a task found.

    Attributes:
        faults: what makes scores wrong or impossible.
        notes: what is worth knowing.
        pairs: number of pairs that could be looked at.
        with_labels: how many of them have label maps of both images.
        with_points: how many of them have landmarks or key points of both images.
    """

    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    pairs: int
    with_labels: int
    with_points: int


def check_task(dataset: Dataset, split: Split = "auto") -> TaskReport:
    """Check the pairs of a task, their images, label maps, masks and points.

    Raises:
        DataError: there is no list of pairs at all.
    """
    pairs, faults = _pairs(dataset, split)
    notes: list[str] = []
    for fault in verify_pairs(pairs, same_grid="grid"):
        if fault.what == "fixed and moving image differ" and fault.expected == "one grid":
            notes.append(f"{fault}: only the shapes have to agree")
        else:
            faults.append(fault)
    faults += [
        Fault("image paired with itself", pair.case_key, "two images", pair.fixed.name)
        for pair in pairs
        if pair.fixed == pair.moving
    ]
    label_faults, label_notes, with_labels = _label_faults(pairs, dataset.labels)
    faults += label_faults
    notes += label_notes
    with_points = 0
    for pair in pairs:
        for kind in _KINDS:
            try:
                found, more = point_faults(pair, kind)
            except DataError:  # the image: reported above
                continue
            faults += found
            notes += more
        with_points += any(None not in files for files in (pair.landmarks(), pair.keypoints()))
    if pairs and not with_labels and not with_points:
        faults.append(
            Fault("nothing to score by", dataset.name, "label maps or landmarks of both images of a pair")
        )
    return TaskReport(tuple(dict.fromkeys(faults)), tuple(notes), len(pairs), with_labels, with_points)


def _pairs(dataset: Dataset, split: Split) -> tuple[list[Pair], list[Fault]]:
    """Return the pairs that can be used, and what is wrong with the others."""
    try:
        return list(dataset.pairs(split)), []
    except DataError as error:
        faults = list(error.faults)
    # One by one, so that the sound ones are looked at all the same.
    splits: tuple[Split, ...] = ("test", "val") if split == "auto" else (split,)
    pairs: dict[str, Pair] = {}
    for one in splits:
        for key, entries in dataset.raw.items():
            for entry in entries if isinstance(entries, list) else ():
                try:
                    (pair,) = replace(dataset, raw={key: [entry]}).pairs(one)
                except DataError:
                    continue
                pairs.setdefault(pair.case_key, pair)
        if pairs:
            break
    if not pairs:
        raise DataError(*faults)
    return list(pairs.values()), faults


def _label_faults(pairs: Sequence[Pair], names: Mapping[int, str]) -> tuple[list[Fault], list[str], int]:
    """Return what is wrong with the labels of all pairs, notes, and how many pairs have label maps."""
    faults: list[Fault] = []
    shared: set[int] = set()
    alone: dict[int, list[str]] = {}
    complete = 0
    for pair in pairs:
        files = pair.labels()
        if files.fixed is None or files.moving is None:
            if lone := files.fixed or files.moving:
                expected = "label maps of both images"
                faults.append(Fault("label map of one image only", pair.case_key, expected, lone.name))
            continue
        try:
            fixed, moving = (
                set(np.unique(read_labels(path)[0]).tolist()) - {0} for path in (files.fixed, files.moving)
            )
        except DataError:  # reported with the grids
            continue
        complete += 1
        shared |= fixed & moving
        for label in fixed ^ moving:
            role = "fixed" if label in fixed else "moving"
            alone.setdefault(label, []).append(f"{pair.case_key} ({role} only)")
    notes = []
    remedy = "segment it in the other image, or remove it: it counts for nobody"
    for label, places in sorted(alone.items()):
        if label in shared:
            notes.append(f"label {label} is in one image only and does not count in {_some(places)}")
        else:
            got = _some(places)
            faults.append(Fault("label in one image only", f"label {label}", "both images", got, remedy))
    wanted = {label for label in names if label > 0}
    if complete and (lost := sorted(wanted - shared - set(alone))):
        notes.append(f"labels of the description that no image has: {', '.join(map(str, lost))}")
    return faults, notes, complete


def _some(places: Sequence[str]) -> str:
    more = f" and {len(places) - _MAX_NAMED} more" if len(places) > _MAX_NAMED else ""
    return ", ".join(places[:_MAX_NAMED]) + more
