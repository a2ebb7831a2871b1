"""What `register` wrote, read again for a page: nothing is registered."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.desk.images import read_any, read_label_map
from dinoreg.desk.points import read_points
from dinoreg.desk.report import fact_rows, labels_on, points_of, title_of
from dinoreg.desk.result_files import FACTS, TRANSFORM, WARPED
from dinoreg.desk.transforms import read_transform
from dinoreg.report.page import Shown
from dinoreg.report.page.layers import in_layers
from dinoreg.space.regrid import working_grid
from regtask.digest import file_sha256
from regtask.documents import read_json
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import PointSpace, lps_to_voxels

log = logging.getLogger(__name__)

_SCANS = ("fixed", "moving")
_LABELS, _POINTS = "labels_", "points_"


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
    layers = in_layers(
        {
            name.removeprefix(_LABELS).removesuffix(".nii.gz"): (
                labels_on(read_label_map(path, series=noted[name].get("series", ""))[0], moving.grid),
                read_label_map(folder / name)[0].data.astype(np.int32),
            )
            for name, path in inputs.items()
            if name.startswith(_LABELS)
        }
    )
    return Shown(
        title=title or title_of(facts),
        fixed=fixed,
        moving=moving,
        warped=read_any(folder / WARPED).data,
        displacement=lps_to_voxels(displacement_on(transform, fixed.grid), fixed.grid, read_on),
        read_on=read_on,
        moving_labels=None if layers is None else layers.moving,
        warped_labels=None if layers is None else layers.warped,
        label_names={} if layers is None else layers.names,
        points=points_of(_points(inputs, fixed.grid, space), transform, fixed.grid, moving.grid),
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
    return name in _SCANS or name.startswith((_LABELS, _POINTS))


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


def _points(inputs: dict[str, Path], fixed: Grid, space: PointSpace | None) -> dict[str, NDArray[np.float64]]:
    """Name -> points of fixed, (N, 3) LPS mm."""
    found = {}
    for name, path in inputs.items():
        if name.startswith(_POINTS) and path.suffix == ".csv" and space is None:
            log.warning("%s: left out of the page; say --space", path)
        elif name.startswith(_POINTS):
            found[name.removeprefix(_POINTS)] = read_points(path, space, fixed).lps
    return found
