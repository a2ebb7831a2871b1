"""The folder that a registration leaves behind: transform, warped images, points, report."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.desk.images import read_typed, write_any
from dinoreg.desk.register import Result, resample
from dinoreg.desk.transforms import Inverse, write_transform
from dinoreg.facts import plain
from dinoreg.runtime import describe_machine
from regtask.atomic import atomic_write_text
from regtask.digest import file_sha256
from regtask.errors import DataError, Fault, OutputError
from regtask.grid import Grid
from regtask.images import Volume

TRANSFORM, INVERSE, WARPED = "transform.h5", "inverse.h5", "warped.nii.gz"
REPORT, FACTS, PICTURE = "report.html", "register.json", "picture.png"


def open_folder(folder: Path, *, overwrite: bool) -> None:
    """Make the folder, and refuse one that holds an earlier result.

    Raises:
        OutputError: it cannot be made, or holds a result and may not be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    present = [name for name in (TRANSFORM, FACTS, WARPED) if (folder / name).exists()]
    if present and not overwrite:
        remedy = "choose another folder, or say --overwrite"
        raise OutputError(Fault("output exists already", str(folder), got=", ".join(present), remedy=remedy))


def write_image(
    path: Path, volume: Volume, dtype: np.dtype[np.generic], target: Grid, result: Result
) -> None:
    """Bring an image of moving to fixed and write it with the type that it was stored in."""
    write_any(path, in_stored_type(resample(volume, target, result.transform).data, dtype), target)


def read_label_map(source: Any) -> tuple[Volume, np.dtype[np.generic]]:
    """Read a label map, and the type that it is stored in.

    Raises:
        DataError: it cannot be read, or holds values that are not labels.
    """
    volume, dtype = read_typed(source, what="label map")
    if not np.array_equal(volume.data, np.rint(volume.data)):
        raise DataError(Fault("not a label map", str(source), "whole numbers", remedy="use --image"))
    return volume, dtype


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
    inputs: Mapping[str, Path],
    settings: Mapping[str, Any],
    written: Sequence[str],
    inverse: Inverse | None,
    labels: tuple[Volume, Volume] | None,
    report: bool,
) -> None:
    """Write transform, warped image, facts and report.

    Args:
        folder: that exists.
        result: of the registration.
        inputs: role -> file, named in the facts with its digest.
        settings: the configuration.
        written: names of further files that were written.
        inverse: to be written too.
        labels: a label map of moving as it is and brought to fixed, to be drawn.
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
        "inputs": {
            role: {"path": str(path), "sha256": "" if path.is_dir() else file_sha256(path)}
            for role, path in inputs.items()
        },
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
    if result.verdict is not None:
        facts |= result.verdict.as_dict()
    if inverse is not None:
        facts["inverse_residual_mm"] = round(inverse.residual_mm, 4)
        facts["inverse_largest_mm"] = round(inverse.largest_mm, 4)
    atomic_write_text(folder / FACTS, json.dumps(plain(facts), indent=1, allow_nan=False) + "\n")
    if report:
        _draw(folder / PICTURE, result, labels)
        atomic_write_text(folder / REPORT, _page(folder, facts))


def in_stored_type(values: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Values in the type that an image was stored in; integers are rounded and kept in range."""
    if dtype.kind not in "iu":
        return values
    limits = np.iinfo(str(dtype))
    return np.clip(np.rint(values), float(limits.min), float(limits.max)).astype(dtype)


def _lengths_mm(result: Result) -> dict[str, float]:
    spacing = np.array(result.read_on.spacing_mm, dtype=np.float32)
    lengths = np.linalg.norm(result.displacement * spacing, axis=-1)
    low, high = np.quantile(lengths, (0.5, 0.99))
    return {"median": round(float(low), 3), "99 %": round(float(high), 3)}


def _draw(path: Path, result: Result, labels: tuple[Volume, Volume] | None) -> None:
    from dinoreg.report import draw_pair  # matplotlib only where it is wanted
    from dinoreg.space.regrid import regrid

    fixed = result.fixed.grid
    lowest = float(result.moving.data.min())
    before = regrid(result.moving.data, result.moving.grid, result.read_on, order=1, outside=lowest)
    drawn: dict[str, Any] = {}
    if labels is not None:
        stored = regrid(labels[0].data, labels[0].grid, result.read_on, order=0, outside=0.0)
        drawn = {
            "moving_labels": stored.astype(np.int32),
            "warped_labels": labels[1].data.astype(np.int32),
        }
    draw_pair(
        path,
        result.fixed.data,
        before,
        result.warped,
        result.displacement,
        fixed.spacing_mm,
        title="fixed <- moving",
        affine=fixed.affine,
        moving_affine=result.read_on.affine,
        **drawn,
    )


def _page(folder: Path, facts: Mapping[str, Any]) -> str:
    picture = base64.b64encode((folder / PICTURE).read_bytes()).decode("ascii")
    grade = facts.get("verdict", "not judged")
    reasons = "".join(f"<li>{html.escape(text)}</li>" for text in facts.get("verdict_reasons", ()))
    rows = {
        "fixed": facts["inputs"].get("fixed", {}).get("path", "in memory"),
        "moving": facts["inputs"].get("moving", {}).get("path", "in memory"),
        "grids": facts["grids_differ"] or "the same",
        "displacement, mm": ", ".join(f"{name} {value}" for name, value in facts["displacement_mm"].items()),
        "folded voxels": f"{facts['folding_percent']:.4f} %",
        "inverse, 99 % of the voxels within": f"{facts.get('inverse_residual_mm', '-')} mm",
        "preset": facts["config"].get("name", ""),
        "seconds": facts["seconds"],
    }
    table = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return _PAGE.format(grade=html.escape(grade), reasons=reasons, table=table, picture=picture)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Registration: {grade}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }}
h1 .good {{ color: #1a7f37; }} h1 .doubtful {{ color: #9a6700; }} h1 .failed {{ color: #cf222e; }}
th {{ text-align: left; padding-right: 2rem; font-weight: 600; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }}
img {{ width: 100%; height: auto; background: #000; }}
</style>
<h1>Registration: <span class="{grade}">{grade}</span></h1>
<ul>{reasons}</ul>
<img alt="Fixed, moving, warped, checkerboard, deformed grid, Jacobian" src="data:image/png;base64,{picture}">
<table>{table}</table>
<p>Not for clinical use.</p>
</html>
"""
