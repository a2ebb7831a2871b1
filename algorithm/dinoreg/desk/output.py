"""The folder that a registration leaves behind: transform, warped images, points, report."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.desk.images import write_any
from dinoreg.desk.register import Result, resample
from dinoreg.desk.transforms import Inverse, write_transform
from dinoreg.facts import plain
from dinoreg.runtime import describe_machine
from regtask.atomic import atomic_write_text
from regtask.digest import file_sha256
from regtask.documents import read_json_object
from regtask.errors import DataError, Fault, OutputError
from regtask.grid import Grid
from regtask.images import Volume
from regtask.untrusted.opening import reading_fault

TRANSFORM, INVERSE, WARPED = "transform.h5", "inverse.h5", "warped.nii.gz"
FACTS, REPORT, PICTURE = "register.json", "report.html", "picture.png"
_ALONG = ("labels_", "image_", "points_")
_OWN = (FACTS, TRANSFORM, INVERSE, WARPED, REPORT, PICTURE)


def open_folder(folder: Path, named: Collection[str] = (), *, overwrite: bool) -> None:
    """Make the folder, and refuse one that holds an earlier result.

    Args:
        folder: to be written to.
        named: names of what will be written beside `register`'s own files.
        overwrite: whether files of an earlier result may be replaced.

    Raises:
        OutputError: it cannot be made, or holds a result, or a file of a name, that may not be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    present = [name for name in (*_OWN, *named) if (folder / name).exists()]
    if present and not overwrite:
        remedy = "choose another folder, or say --overwrite"
        raise OutputError(Fault("output exists already", str(folder), got=", ".join(present), remedy=remedy))


def remove_earlier(folder: Path, inputs: Iterable[Path]) -> None:
    """Remove what an earlier registration left in a folder, as far as its facts name it.

    Args:
        folder: that exists.
        inputs: of this registration, which stay, wherever they lie.

    Raises:
        OutputError: a file cannot be removed.
    """
    kept = {path.resolve() for path in inputs}
    # The facts first: whatever stops the program from here on, what is left is not taken for a result.
    names = dict.fromkeys((FACTS, *_noted_files(folder), *_OWN))
    try:
        present = {path.name for path in folder.iterdir()}
        for name in names:
            path = folder / name
            if name in present and not path.is_dir() and path.resolve() not in kept:
                path.unlink()
    except OSError as error:
        raise OutputError(Fault("earlier result not removable", str(folder), got=str(error))) from error


def _noted_files(folder: Path) -> list[str]:
    """Names of what an earlier registration wrote of the files that came along."""
    try:
        files = read_json_object(folder / FACTS, "what register wrote").get("files")
    except DataError:
        return []
    named = files if isinstance(files, list) else []
    return [name for name in named if isinstance(name, str) and name.startswith(_ALONG)]


def note_inputs(inputs: Mapping[str, Path], series: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return what the facts say of inputs. To be asked before anything is written, perhaps over one of them.

    Args:
        inputs: role -> file or folder.
        series: role -> UID of the series that is meant, of a folder with several.

    Raises:
        DataError: a file cannot be read.
    """
    noted = {}
    for role, path in inputs.items():
        try:
            digest = file_sha256(path) if path.is_file() else ""
        except OSError as error:
            raise DataError(reading_fault(path, error)) from error
        noted[role] = {"path": str(path), "sha256": digest, "series": series.get(role, "")}
    return noted


def write_image(
    path: Path, volume: Volume, dtype: np.dtype[np.generic], target: Grid, result: Result
) -> None:
    """Bring an image of moving to fixed and write it with the type that it was stored in."""
    write_any(path, in_stored_type(resample(volume, target, result.transform).data, dtype), target)


def write_labels(
    path: Path, volume: Volume, dtype: np.dtype[np.generic], target: Grid, result: Result
) -> Volume:
    """Bring a label map of moving to fixed and write it with the type that it was stored in.

    Raises:
        DataError: not one label comes to lie inside fixed.
    """
    moved = resample(volume, target, result.transform, labels=True)
    if volume.data.any() and not moved.data.any():
        raise DataError(
            Fault("no label comes to lie inside the fixed image", path.name, "labels drawn on moving")
        )
    write_any(path, in_stored_type(moved.data, dtype), target)
    return moved


def write_result(
    folder: Path,
    result: Result,
    *,
    inputs: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Any],
    written: Sequence[str],
    inverse: Inverse | None,
    labels: tuple[Volume, Volume] | None,
    points: tuple[NDArray[np.float64], Sequence[str]] | None = None,
    report: bool,
) -> None:
    """Write transform, warped image, facts and report.

    Args:
        folder: that exists.
        result: of the registration.
        inputs: role -> what the facts say of it, see `note_inputs`.
        settings: the configuration.
        written: names of further files that were written.
        inverse: to be written too.
        labels: a label map of moving as it is and brought to fixed, to be drawn.
        points: of fixed to be drawn, (N, 3) LPS mm, and their names.
        report: whether a report is wanted.
    """
    fixed = result.fixed.grid
    write_transform(folder / TRANSFORM, result.transform)
    write_any(folder / WARPED, result.warped, fixed)
    names = [TRANSFORM, WARPED, *written]
    if inverse is not None:
        write_transform(folder / INVERSE, inverse.transform)
        names.append(INVERSE)
    facts = {
        "inputs": {role: dict(noted) for role, noted in inputs.items()},
        "files": names,
        "grids": {
            name: {"shape": list(grid.shape), "affine": grid.affine.tolist()}
            for name, grid in (("fixed", fixed), ("moving", result.moving.grid))
        },
        "grids_differ": fixed.differences(result.moving.grid),
        "seconds": round(result.seconds, 3),
        "folding_percent": result.registration.guard.folding_percent,
        "displacement_mm": _lengths_mm(result),
        "stages": [stage.as_dict() for stage in result.registration.stages],
        "plan": result.registration.plan.as_dict(),
        "config": dict(settings),
        "machine": describe_machine(result.registration.device),
    }
    if result.linear is not None:
        facts["linear_ras"] = result.linear.tolist()
    if result.verdict is not None:
        facts |= result.verdict.as_dict()
    if inverse is not None:
        facts["inverse_residual_mm"] = round(inverse.residual_mm, 4)
        facts["inverse_largest_mm"] = round(inverse.largest_mm, 4)
    atomic_write_text(folder / FACTS, json.dumps(plain(facts), indent=1, allow_nan=False) + "\n")
    if report:
        from dinoreg.desk.report import (
            points_of,
            show_result,
            write_report,
        )  # matplotlib only where it is wanted

        seen = None if points is None else points_of(result, *points)
        write_report(folder, show_result(result, labels=labels, points=seen, facts=facts))


def in_stored_type(values: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Values in the type that an image was stored in; integers are rounded and kept in range."""
    if dtype.kind not in "iu":
        return values
    limits = np.iinfo(str(dtype))
    # The largest float within the range: that of 64 bits itself rounds up, and wraps around.
    low, high = float(limits.min), float(limits.max)
    high = high if high < limits.max + 1 else float(np.nextafter(high, 0))
    return np.clip(np.rint(values.astype(np.float64)), low, high).astype(dtype)


def _lengths_mm(result: Result) -> dict[str, float]:
    spacing = np.array(result.read_on.spacing_mm, dtype=np.float32)
    lengths = np.linalg.norm(result.displacement * spacing, axis=-1)
    low, high = np.quantile(lengths, (0.5, 0.99))
    return {"median": round(float(low), 3), "99 %": round(float(high), 3)}
