"""The folder that a registration leaves behind: transform, warped images, points, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.desk.images import write_any
from dinoreg.desk.register import Result
from dinoreg.desk.resampling import resample
from dinoreg.desk.result_files import FACTS, INVERSE, TRANSFORM, WARPED
from dinoreg.desk.transforms import Inverse, write_transform
from dinoreg.facts import plain
from dinoreg.runtime import describe_machine
from dinoreg.space.kernels.choice import describe_kernels
from regtask.atomic import atomic_write_text
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.images import Volume


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
    labels: Mapping[str, tuple[Volume, Volume]],
    points: Mapping[str, NDArray[np.float64]],
    report: bool,
) -> None:
    """Write transform, warped image, facts and report.

    Args:
        folder: that exists.
        result: of the registration.
        inputs: role -> what the facts say of it, see `dinoreg.desk.result_files.note_inputs`.
        settings: the configuration.
        written: names of further files that were written.
        inverse: to be written too.
        labels: name -> a label map of moving as it is and brought to fixed, to be drawn.
        points: name -> points of fixed to be drawn, (N, 3) LPS mm.
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
        "displacement_mm": _lengths_mm(result),
        "config": dict(settings),
        "machine": describe_machine(result.registration.device)
        | {"kernels": describe_kernels(result.registration.device)},
    } | result.registration.as_dict()
    if result.linear is not None:
        facts["linear_ras"] = result.linear.tolist()
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

        seen = points_of(points, result.transform, fixed, result.moving.grid)
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
