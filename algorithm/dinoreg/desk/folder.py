"""What `register` wrote, read again for a page: nothing is registered."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.desk.images import read_any, read_label_map
from dinoreg.desk.points import read_points
from dinoreg.desk.report import fact_rows, labels_on, title_of
from dinoreg.desk.result_files import FACTS, TRANSFORM, WARPED
from dinoreg.desk.transforms import read_transform, transform_points
from dinoreg.report.page import Points, Shown
from dinoreg.space.regrid import working_grid
from regtask.digest import file_sha256
from regtask.documents import read_json
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import PointSpace, lps_to_voxels, to_voxels

log = logging.getLogger(__name__)

_SCANS = ("fixed", "moving")


def is_result(folder: Path) -> bool:
    """Tell whether `register` wrote a folder."""
    return (folder / FACTS).is_file() and (folder / TRANSFORM).is_file()


def read_result(folder: Path, *, title: str = "", space: PointSpace | None = None) -> Shown:
    """Read a result of `register`, with the scans that it was made from.

    Args:
        folder: as `register` wrote it.
        title: names the pair; by default the names of its files.
        space: of points in csv files; without it those are left out.

    Raises:
        DataError: a file is missing or damaged, or a scan is no longer the one that was registered.
    """
    facts = _read_facts(folder)
    noted = facts["inputs"]
    inputs = {name: _unchanged(name, entry) for name, entry in noted.items() if _is_shown(name)}
    fixed, moving = (
        read_any(
            inputs[name], series=noted[name].get("series", ""), option=f"dinoreg register --{name}-series"
        )
        for name in _SCANS
    )
    transform = read_transform(folder / TRANSFORM)
    read_on = working_grid(fixed.grid, moving.grid)
    labels = next((name for name in inputs if name.startswith("labels_")), None)
    warped_labels = read_label_map(folder / labels)[0] if labels else None
    return Shown(
        title=title or title_of(facts),
        fixed=fixed,
        moving=moving,
        warped=read_any(folder / WARPED).data,
        displacement=lps_to_voxels(displacement_on(transform, fixed.grid), fixed.grid, read_on),
        read_on=read_on,
        moving_labels=labels_on(read_label_map(inputs[labels])[0], moving.grid) if labels else None,
        warped_labels=None if warped_labels is None else warped_labels.data.astype(np.int32),
        points=_points(inputs, transform, fixed.grid, moving.grid, space),
        facts=fact_rows(facts),
        verdict=str(facts.get("verdict", "")),
        reasons=tuple(str(reason) for reason in facts.get("verdict_reasons", ())),
    )


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    facts = read_json(path, "what register wrote")
    inputs = facts.get("inputs") if isinstance(facts, dict) else None
    entries = inputs if isinstance(inputs, dict) else {}
    if not set(_SCANS) <= set(entries) or not all(_is_noted(entry) for entry in entries.values()):
        raise DataError(Fault("not written by register", str(path), "inputs fixed and moving"))
    return facts


def _is_shown(name: str) -> bool:
    return name in _SCANS or name.startswith(("labels_", "points_"))


def _is_noted(entry: Any) -> bool:
    words = {"series": ""} | entry if isinstance(entry, dict) else {}
    return all(isinstance(words.get(key), str) for key in ("path", "sha256", "series"))


def _unchanged(name: str, entry: dict[str, str]) -> Path:
    """Return an input that is still what it was.

    Raises:
        DataError: it is gone, or has changed.
    """
    path = Path(entry["path"])
    if not path.exists():
        remedy = "put it back, or run from the folder that register ran in"
        raise DataError(
            Fault("an input of the registration is gone", str(path), f"the {name}", remedy=remedy)
        )
    if path.is_file() and file_sha256(path) != entry["sha256"]:
        raise DataError(
            Fault("an input of the registration has changed", str(path), "the file that was registered",
                  f"another SHA-256 for {name}", "register again")
        )  # fmt: skip
    return path


def _points(
    inputs: dict[str, Path], transform: sitk.Transform, fixed: Grid, moving: Grid, space: PointSpace | None
) -> Points | None:
    path = next((path for name, path in inputs.items() if name.startswith("points_")), None)
    if path is None:
        return None
    if path.suffix == ".csv" and space is None:
        log.warning("%s: left out of the page; say --space", path)
        return None
    lps = read_points(path, space, fixed).lps
    moved = transform_points(transform, lps)
    return Points(to_voxels(lps, fixed, "lps"), to_voxels(moved, moving, "lps"))
