"""`dinoreg apply` to doses and structure sets."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dinoreg.errors import ConfigError
from regtask.errors import DataError, Fault

if TYPE_CHECKING:
    import SimpleITK as sitk

    from dinoreg.desk.dicom.reference import Reference
    from regtask.grid import Grid

log = logging.getLogger(__name__)


def map_dose(options: argparse.Namespace, transform: sitk.Transform, reference: Grid) -> None:
    """Bring a dose to the reference, as an image or as RTDOSE."""
    from dinoreg.desk.dicom.dose import is_dose, read_dose, write_dose
    from dinoreg.desk.images import read_stored, write_any
    from dinoreg.desk.resampling import resample_stored

    if not (options.dose.is_file() and is_dose(options.dose)):
        values, grid = read_stored(options.dose, series=options.series)
        moved = resample_stored(values, grid, reference, transform, "linear", 0.0, str(options.dose))
        write_any(options.output, moved.values, reference)
        tell(options.output, reference, str(moved.values.dtype), moved.covered)
        return
    dose = read_dose(options.dose)
    refer = _reference(options) if options.output.suffix == ".dcm" else None
    moved = resample_stored(dose.values, dose.grid, reference, transform, "linear", 0.0, str(options.dose))
    if refer is not None:
        write_dose(options.output, dose, moved.values.astype("float32"), refer, reference)
    else:
        write_any(options.output, moved.values, reference)
    unit = "Gy" if dose.units == "GY" else dose.units
    log.info("largest dose %.4g %s, before %.4g %s", moved.values.max(), unit, dose.values.max(), unit)
    tell(options.output, reference, unit, moved.covered)


def map_structures(options: argparse.Namespace, transform: sitk.Transform, reference: Grid) -> None:
    """Bring a structure set of moving to the series of the reference."""
    from dinoreg.desk.dicom.carry import carry_structures
    from dinoreg.desk.dicom.series import choose_series
    from dinoreg.desk.dicom.structures import read_structures, write_structures
    from dinoreg.desk.images import read_grid

    refer = _reference(options)
    if not options.moving.is_dir():
        raise ConfigError(Fault("not DICOM", str(options.moving), "a folder of DICOM slices"))
    structures = read_structures(options.rtstruct)
    wanted = options.moving_series or _drawn_on(structures.series, options.moving)
    moving = choose_series(options.moving, wanted, option="--moving-series")
    if structures.series and moving.uid not in structures.series:
        got = f"series {', '.join(sorted(structures.series))}"
        raise DataError(
            Fault("structures drawn on another series", str(options.rtstruct), f"series {moving.uid}", got)
        )
    grid = read_grid(options.moving, series=moving.uid)
    contours = carry_structures(structures, grid, reference, transform)
    write_structures(options.output, structures, refer, contours)
    count = sum(map(bool, contours.values()))
    log.info("%s: %d of %d structures on series %s", options.output, count, len(contours), refer.series.uid)


def _reference(options: argparse.Namespace) -> Reference:
    from dinoreg.desk.dicom.reference import refer_to
    from dinoreg.desk.dicom.series import choose_series

    if not options.reference.is_dir():
        expected = "a folder of DICOM slices, to refer to"
        raise ConfigError(Fault("not DICOM", str(options.reference), expected))
    return refer_to(choose_series(options.reference, options.reference_series, option="--reference-series"))


def _drawn_on(named: set[str], folder: Path) -> str:
    """Which of the series that a structure set names is meant: the one that a folder holds."""
    from dinoreg.desk.dicom.series import series_among

    held = series_among(
        folder,
        named,
        what="structures drawn on several series",
        expected="one series",
        remedy="name one with --moving-series UID",
    )
    return held or min(named, default="")


def tell(path: Path, grid: Grid, what: str, covered: float) -> None:
    """Say what was written."""
    size = " x ".join(map(str, grid.shape))
    log.info("%s: %s voxels, %s; it shows the image in %.0f %% of them", path, size, what, 100 * covered)
