"""`dinoreg apply` from parsed options."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoreg.cli.apply.radiotherapy import map_dose, map_structures, tell
from dinoreg.cli.options import let_threads_sleep
from dinoreg.errors import ConfigError
from regtask.errors import DataError, Fault, OutputError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from dinoreg.desk.points import Points
    from dinoreg.desk.resampling import Interpolation
    from regtask.grid import Grid

log = logging.getLogger(__name__)

_INTERPOLATIONS = {
    "image": ("linear", "bspline", "nearest"),
    "labels": ("nearest", "smooth"),
    "dose": ("linear",),
}


def run_apply(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        ConfigError: the options do not say what they have to.
        DataError: a file cannot be used, or nothing of it comes to lie inside the reference.
        OutputError: the result exists, or cannot be written.
    """
    let_threads_sleep()
    _check(options)
    from dinoreg.desk.exchange.read import read_any_transform
    from dinoreg.desk.images import read_grid, refuse_unwritten
    from dinoreg.desk.resampling import refuse_undefined

    is_image = options.image is not None or options.labels is not None
    if is_image or (options.dose is not None and options.output.suffix != ".dcm"):
        refuse_unwritten(options.output)
    reference = None
    if options.reference is not None:
        reference = read_grid(
            options.reference, series=options.reference_series, what="reference", option="--reference-series"
        )
    moving = None
    if options.moving is not None and options.rtstruct is None:
        moving = read_grid(
            options.moving, series=options.moving_series, what="moving image", option="--moving-series"
        )
    transform = read_any_transform(
        options.transform,
        fixed=reference if options.transform.suffix == ".npz" else None,
        moving=moving,
    ).transform
    if options.points is not None:
        _points(options, transform, reference, moving)
        return
    assert reference is not None  # as checked
    refuse_undefined(transform, reference, options.reference)
    if options.rtstruct is not None:
        map_structures(options, transform, reference)
    elif options.dose is not None:
        map_dose(options, transform, reference)
    else:
        _image(options, transform, reference)


def _check(options: argparse.Namespace) -> None:
    if options.output.exists() and not options.overwrite:
        raise OutputError(Fault("output exists already", str(options.output), remedy="say --overwrite"))
    faults = []
    voxels = options.points is not None and options.space == "voxel"
    if options.reference is None and (options.points is None or voxels):
        what = "an image whose grid the result, or the voxels, are on"
        faults.append(Fault("no --reference", "options", what))
    if options.moving is None and (options.rtstruct is not None or voxels):
        faults.append(Fault("no --moving", "options", "the image that they are drawn on, or end in"))
    kind = next((name for name in _INTERPOLATIONS if getattr(options, name) is not None), "")
    allowed = _INTERPOLATIONS.get(kind, ())
    if options.interpolation and options.interpolation not in allowed:
        expected = f"for --{kind}: {', '.join(allowed)}" if kind else "none: nothing is interpolated"
        faults.append(Fault("no such interpolation", options.interpolation, expected))
    if options.space and options.points is None:
        faults.append(Fault("only points have a space", "--space", remedy="leave it out"))
    if options.rtstruct is not None and options.output.suffix != ".dcm":
        faults.append(Fault("structures are written as DICOM", str(options.output), ".dcm"))
    if faults:
        raise ConfigError(*faults)


def _image(options: argparse.Namespace, transform: sitk.Transform, reference: Grid) -> None:
    from dinoreg.desk.dicom.dose import is_dose
    from dinoreg.desk.images import read_stored, write_any
    from dinoreg.desk.resampling import resample_stored

    path = options.image or options.labels
    if path.is_file() and is_dose(path):
        raise DataError(Fault("a dose, whose numbers need its scaling", str(path), remedy="use --dose"))
    values, grid = read_stored(path, series=options.series)
    if options.labels is not None:
        _refuse_no_labels(values, path)
    _refuse_other_header(options, grid, path)
    outside = float(values.min()) if options.image else 0.0
    interpolation: Interpolation = options.interpolation or ("linear" if options.image else "nearest")
    moved = resample_stored(values, grid, reference, transform, interpolation, outside, str(path))
    if options.labels is not None and values.any() and not moved.values.any():
        raise DataError(Fault("no label comes to lie inside the reference", str(path)))
    write_any(options.output, moved.values, reference)
    tell(options.output, reference, str(moved.values.dtype), moved.covered)


def _refuse_no_labels(values: Any, path: Path) -> None:
    import numpy as np

    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise DataError(Fault("not a label map", str(path), "whole numbers", remedy="use --image"))


def _points(
    options: argparse.Namespace, transform: sitk.Transform, reference: Grid | None, moving: Grid | None
) -> None:
    from dinoreg.desk.exchange.parts import first_lattice
    from dinoreg.desk.points import read_points, write_points
    from dinoreg.desk.transforms import transform_points

    points = read_points(options.points, options.space, reference)
    _refuse_outside(points, reference or first_lattice(transform), options.points)
    write_points(options.output, points, transform_points(transform, points.lps), moving)
    log.info("%s: %d points of moving, %s", options.output, len(points.lps), points.space)


def _refuse_outside(points: Points, grid: Grid | None, path: Path) -> None:
    from dinoreg.warp.outside import refuse_points_outside
    from regtask.physical import from_voxels, to_voxels

    if grid is not None:
        given = from_voxels(to_voxels(points.lps, grid, "lps"), grid, points.space)
        refuse_points_outside(given, grid, points.space, path)


def _refuse_other_header(options: argparse.Namespace, grid: Grid, path: Path) -> None:
    from dinoreg.desk.resampling import noted_grid, refuse_other_header

    # The names that register gives: only then is it known which image the transform leads to.
    role = {"transform.h5": "moving", "inverse.h5": "fixed"}.get(options.transform.name)
    if role is None or options.other_header:
        return
    registered = noted_grid(options.transform, "moving" if role == "moving" else "fixed")
    if registered is not None:
        refuse_other_header(grid, registered, str(path), f"the {role} image that was registered")
