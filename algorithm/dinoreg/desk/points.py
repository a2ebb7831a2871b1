"""Points in files: csv in a stated space, and 3D Slicer's fiducials (.fcsv) and markups (.mrk.json)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.errors import ConfigError
from regtask.atomic import atomic_write_text
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import PointSpace, from_voxels, to_voxels
from regtask.untrusted.opening import open_regular

_RAS_FROM_LPS = np.array((-1.0, -1.0, 1.0))
_LARGEST_FILE = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points of a file.

    Attributes:
        lps: (N, 3) LPS mm.
        space: what the numbers in the file are.
        render: gives the text of the same file with other points, (N, 3) LPS mm of another grid.
    """

    lps: NDArray[np.float64]
    space: PointSpace
    render: Callable[[NDArray[np.float64], Grid | None], str]


def read_points(path: Path, space: PointSpace | None, grid: Grid | None) -> Points:
    """Read points.

    Args:
        path: `.csv` with x, y, z in the first three columns that are numbers, `.fcsv` or `.mrk.json`.
        space: of a csv; the others state it themselves.
        grid: of the image that the points lie in; needed for voxels alone.

    Raises:
        ConfigError: a csv without a space.
        DataError: no points, or not such a file.
    """
    try:
        with open_regular(path) as stream:
            text = stream.read(_LARGEST_FILE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(Fault("cannot read the points", str(path), got=str(error))) from error
    if path.name.endswith(".mrk.json"):
        return _markups(path, text)
    if path.suffix == ".fcsv":
        return _fiducials(path, text)
    if space is None:
        raise ConfigError(
            Fault("which space?", str(path), "--space lps, --space ras or --space voxel", remedy="state it")
        )
    return _table(path, text, space, grid)


def write_points(path: Path, points: Points, lps: NDArray[np.float64], grid: Grid | None) -> None:
    """Write other points in the form of the file that some came from.

    Args:
        path: of the new file.
        points: as they were read.
        lps: (N, 3) LPS mm.
        grid: of the image that they lie in, for voxels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, points.render(lps, grid))


def _table(path: Path, text: str, space: PointSpace, grid: Grid | None) -> Points:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    header = rows[:1] if rows and _numbers(rows[0]) is None else []
    body = rows[len(header) :]
    columns = [_numbers(row) for row in body]
    if not body or any(found is None for found in columns):
        number = next((n for n, found in enumerate(columns, 1 + len(header)) if found is None), 1)
        raise DataError(Fault("no point", f"{path}, line {number}", "three numbers x, y, z"))
    places = [found for found in columns if found is not None]
    values = np.array([[float(row[c]) for c in found] for row, found in zip(body, places, strict=True)])

    def render(lps: NDArray[np.float64], other: Grid | None) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows(header)
        for row, found, point in zip(body, places, _from_lps(lps, space, other), strict=True):
            new = list(row)
            for column, value in zip(found, point, strict=True):
                new[column] = f"{value:.6f}"
            writer.writerow(new)
        return out.getvalue()

    return Points(_to_lps(values, space, grid), space, render)


def _fiducials(path: Path, text: str) -> Points:
    lines = text.splitlines()
    state = next((line for line in lines if "CoordinateSystem" in line), "")
    space: PointSpace = "lps" if state.split("=")[-1].strip() in ("LPS", "1") else "ras"
    at = [n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    try:
        values = np.array([[float(v) for v in lines[n].split(",")[1:4]] for n in at]).reshape(-1, 3)
    except ValueError as error:
        raise DataError(Fault("not a fiducial file", str(path), "id,x,y,z,...", str(error))) from error
    if not at:
        raise DataError(Fault("no point", str(path), "lines of id,x,y,z,..."))

    def render(lps: NDArray[np.float64], other: Grid | None) -> str:
        new = list(lines)
        for n, point in zip(at, _from_lps(lps, space, other), strict=True):
            cells = lines[n].split(",")
            cells[1:4] = [f"{value:.6f}" for value in point]
            new[n] = ",".join(cells)
        return "\n".join(new) + "\n"

    return Points(_to_lps(values, space, None), space, render)


def _markups(path: Path, text: str) -> Points:
    try:
        content: dict[str, Any] = json.loads(text)
        (markup,) = content["markups"]
        space: PointSpace = "ras" if str(markup.get("coordinateSystem", "LPS")) in ("RAS", "0") else "lps"
        values = np.array([point["position"] for point in markup["controlPoints"]], dtype=float)
        if values.ndim != 2 or values.shape[1] != 3:
            raise ValueError(f"positions of shape {values.shape}")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            Fault("not a markups file", str(path), "one list of control points", str(error))
        ) from error

    def render(lps: NDArray[np.float64], other: Grid | None) -> str:
        for point, position in zip(markup["controlPoints"], _from_lps(lps, space, other), strict=True):
            point["position"] = [round(float(value), 6) for value in position]
        return json.dumps(content, indent=1) + "\n"

    return Points(_to_lps(values, space, None), space, render)


def _numbers(row: list[str]) -> list[int] | None:
    """The first three columns that are finite numbers; None where there are not as many."""
    found = []
    for column, text in enumerate(row):
        try:
            if np.isfinite(float(text)):
                found.append(column)
        except ValueError:
            continue
    return found[:3] if len(found) >= 3 else None


def _to_lps(values: NDArray[np.float64], space: PointSpace, grid: Grid | None) -> NDArray[np.float64]:
    if space == "lps":
        return values
    if space == "ras" or grid is None:
        return values * _RAS_FROM_LPS
    return from_voxels(values, grid, "lps")


def _from_lps(lps: NDArray[np.float64], space: PointSpace, grid: Grid | None) -> NDArray[np.float64]:
    if space == "lps":
        return lps
    return lps * _RAS_FROM_LPS if space == "ras" or grid is None else to_voxels(lps, grid, "lps")
