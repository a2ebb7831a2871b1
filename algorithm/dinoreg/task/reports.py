"""Pages of the fields of a task that are there already: nothing is registered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.field_verdict import judge_field
from dinoreg.preprocess.pair import ImagePair
from dinoreg.report.page import IndexRow, Points, Shown, index_row, make_page, write_index
from dinoreg.report.pair import read_companion
from dinoreg.space.transform import Transform
from dinoreg.task.manifest import MANIFEST_NAME, read_pairs
from dinoreg.task.scans import image_pair
from dinoreg.warp.apply import moving_positions, warp_image, warp_labels, warp_landmarks
from regtask.atomic import atomic_write_text
from regtask.dataset import Dataset
from regtask.errors import DataError, Fault, OutputError, SpaceError
from regtask.fields import read_field
from regtask.images import read_volume
from regtask.landmarks import read_landmark_pair
from regtask.names import field_names
from regtask.pair import Pair

log = logging.getLogger(__name__)

REPORTS, INDEX = "reports", "index.html"


def write_reports(folder: Path, dataset: Dataset, pairs: Sequence[Pair]) -> Path:
    """Write a page for every pair whose field lies in a folder, and the index of them.

    Args:
        folder: with fields named as Learn2Reg names them, of this program or of another.
        dataset: the task.
        pairs: of the task.

    Returns:
        The index, `folder/reports/index.html`.

    Raises:
        DataError: there is no field of any pair, or a field or an image cannot be read.
        OutputError: a page cannot be written.
    """
    found = {pair: path for pair in pairs if (path := _field_of(folder, pair)) is not None}
    if not found:
        wanted = _names(pairs[0])[0]
        raise DataError(Fault("no field of any pair", str(folder), f"files such as {wanted}"))
    entries = _noted(folder)
    target = folder / REPORTS
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(target), got=str(error))) from error
    rows: list[IndexRow] = []
    for number, (pair, path) in enumerate(found.items(), 1):
        shown = read_pair(pair, path, dataset, entries.get(pair.case_key, {}))
        page = make_page(shown)
        name = f"{pair.fixed_id}_{pair.moving_id}.html"
        atomic_write_text(target / name, page.text)
        rows.append(index_row(shown, page, name))
        log.info("page %d/%d  %s", number, len(found), pair.case_key)
    for pair in pairs:
        if pair not in found:
            log.warning("%s: no field, no page", pair.case_key)
    write_index(target / INDEX, f"{dataset.name}: {folder.name}", rows)
    return target / INDEX


def read_pair(pair: Pair, path: Path, dataset: Dataset, entry: Mapping[str, Any]) -> Shown:
    """Read what a page shows of a pair.

    Args:
        pair: of the task.
        path: its field.
        dataset: the task.
        entry: what the manifest of the run says of it; empty where there is none.
    """
    fixed, moving = read_volume(pair.fixed), read_volume(pair.moving)
    field = read_field(path, fixed.grid.shape)
    # The pair was registered voxel to voxel; where the two lie in the scanner makes no difference here.
    transform = Transform(field, fixed.grid, moving.grid, "voxel_to_voxel")
    positions = moving_positions(transform, moving.grid)
    files = pair.labels()
    found = _verdict(entry) or _judged(lambda: image_pair(dataset, pair, fixed, moving), field)
    moving_labels = read_companion(files.moving, moving)
    landmarks = read_landmark_pair(pair) or read_landmark_pair(pair, "keypoints")
    points = None
    if landmarks is not None:
        points = Points(
            landmarks.fixed, warp_landmarks(landmarks.fixed, transform, "voxel"), landmarks.moving
        )
    return Shown(
        title=pair.case_key,
        fixed=fixed,
        moving=moving,
        warped=warp_image(moving.data, positions),
        displacement=field,
        read_on=moving.grid,
        fixed_labels=read_companion(files.fixed, fixed),
        moving_labels=moving_labels,
        warped_labels=None if moving_labels is None else warp_labels(moving_labels, positions),
        label_names=dataset.labels,
        points=points,
        facts=_facts(pair, path, dataset, entry),
        verdict=found[0],
        reasons=found[1],
    )


def _verdict(entry: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """The grade and the reasons that a run noted; none where it did not."""
    if "verdict" not in entry:
        return None
    return str(entry["verdict"]), tuple(str(reason) for reason in entry.get("verdict_reasons", ()))


def _judged(images: Callable[[], ImagePair], field: NDArray[np.float32]) -> tuple[str, tuple[str, ...]]:
    """The same for a field that nobody has judged; empty where there is nothing to judge it by."""
    try:
        verdict = judge_field(images(), field)
    except (DataError, SpaceError) as error:
        log.warning("no verdict: %s", error)
        return "", ()
    return verdict.grade, verdict.reasons


def _noted(folder: Path) -> dict[str, dict[str, Any]]:
    """What the manifest beside the fields says of each pair; nothing where it is that of another program."""
    try:
        return read_pairs(folder)
    except OutputError:
        log.warning("%s: not of dinoreg run; its verdicts are not known", folder / MANIFEST_NAME)
        return {}


def _facts(pair: Pair, path: Path, dataset: Dataset, entry: Mapping[str, Any]) -> dict[str, str]:
    rows = {
        "fixed image": f"{pair.fixed.name}, {dataset.modality_of(pair.fixed)}",
        "moving image": f"{pair.moving.name}, {dataset.modality_of(pair.moving)}",
        "field": path.name,
    }
    if entry.get("status", "ok") != "ok":
        rows["registration"] = f"failed: {entry.get('error', '')}; this is a safe field instead"
    if "seconds" in entry:
        rows["seconds"] = str(entry["seconds"])
    return rows


def _names(pair: Pair) -> list[str]:
    names = field_names(pair.fixed_id, pair.moving_id, "both")
    return [*names, *(name.replace(".nii.gz", ".npz") for name in names)]


def _field_of(folder: Path, pair: Pair) -> Path | None:
    return next((path for name in _names(pair) if (path := folder / name).is_file()), None)
