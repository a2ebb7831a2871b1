"""Points in files: csv in a stated space, and 3D Slicer's fiducials (.fcsv) and markups (.mrk.json)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.errors import ConfigError
from regtask.atomic import atomic_write_text
from regtask.documents import read_json, read_text
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import PointSpace, from_voxels, to_voxels

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
        path: `.csv` with x, y, z in the columns that a first line calls so, else in the first three that are
            numbers; `.fcsv` or `.mrk.json`.
        space: of a csv; the others state it themselves.
        grid: of the image that the points lie in; needed for voxels alone.

    Raises:
        ConfigError: a csv without a space.
        DataError: no points, or not such a file.
    """
    if path.name.endswith(".mrk.json"):
        return _markups(path, read_json(path, "a markups file", _LARGEST_FILE))
    text = read_text(path, _LARGEST_FILE, "points")
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
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:  # a cell without end
        raise DataError(Fault("cannot read the points", str(path), "csv", str(error))) from error
    header = rows[:1] if rows and _numbers(rows[0]) is None else []
    body = rows[len(header) :]
    named = _named(header[0]) if header else None
    columns = [_numbers(row, named) for row in body]
    if not body or any(found is None for found in columns):
        number = next((n for n, found in enumerate(columns, 1 + len(header)) if found is None), 1)
        raise DataError(Fault("no point", f"{path}, line {number}", "three numbers x, y, z"))
    places = [found for found in columns if found is not None]
    if any(found != places[0] for found in places):
        remedy = "call the columns x, y and z in a first line"
        raise DataError(Fault("numbers in other columns from line to line", str(path), remedy=remedy))
    values = np.array([[float(row[c]) for c in places[0]] for row in body])

    def render(lps: NDArray[np.float64], other: Grid | None) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows(header)
        for row, point in zip(body, _from_lps(lps, space, other), strict=True):
            new = list(row)
            for column, value in zip(places[0], point, strict=True):
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
        values = _places([lines[n].split(",")[1:4] for n in at])
    except ValueError as error:
        raise DataError(Fault("not a fiducial file", str(path), "id,x,y,z,...", str(error))) from error

    def render(lps: NDArray[np.float64], other: Grid | None) -> str:
        new = list(lines)
        for n, point in zip(at, _from_lps(lps, space, other), strict=True):
            cells = lines[n].split(",")
            cells[1:4] = [f"{value:.6f}" for value in point]
            new[n] = ",".join(cells)
        return "\n".join(new) + "\n"

    return Points(_to_lps(values, space, None), space, render)


def _markups(path: Path, content: Any) -> Points:
    try:
        (markup,) = content["markups"]
        space: PointSpace = "ras" if str(markup.get("coordinateSystem", "LPS")) in ("RAS", "0") else "lps"
        values = _places([point["position"] for point in markup["controlPoints"]])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            Fault("not a markups file", str(path), "one list of control points", str(error))
        ) from error

    def render(lps: NDArray[np.float64], other: Grid | None) -> str:
        for point, position in zip(markup["controlPoints"], _from_lps(lps, space, other), strict=True):
            point["position"] = [round(float(value), 6) for value in position]
        return json.dumps(content, indent=1) + "\n"

    return Points(_to_lps(values, space, None), space, render)


def _places(numbers: Sequence[Sequence[Any]]) -> NDArray[np.float64]:
    """(N, 3) of the rows of a file that has points only.

    Raises:
        ValueError: there are none, or they are not three finite numbers each.
    """
    if not numbers:
        raise ValueError("no point")
    values = np.array(numbers, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError(f"positions of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a position that is not finite")
    return values


def _named(header: Sequence[str]) -> list[int] | None:
    """The columns that a first line calls x, y and z."""
    names = [name.strip().casefold() for name in header]
    return [names.index(axis) for axis in "xyz"] if {"x", "y", "z"} <= set(names) else None


def _numbers(row: Sequence[str], named: list[int] | None = None) -> list[int] | None:
    """The first three columns that are finite numbers, or those named; None where there are not as many."""
    found = []
    for column, text in enumerate(row):
        try:
            if (named is None or column in named) and np.isfinite(float(text)):
                found.append(column)
        except ValueError:
            continue
    if len(found) < 3:
        return None
    return found[:3] if named is None else named


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
