"""Learn2Reg 2026 (PSMAReg): one pair a call, five paths, a field with its components first.

    FIXED_CT FIXED_PET MOVING_CT MOVING_PET FIELD

The platform gives CT and PET of both times on one grid and names the file of the field. CT alone is
registered: no preset compares two images of each scan. The field is (3, I, J, K) float32 at full resolution,
in voxels of the fixed image, pull.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dinoreg.cli.options import chosen_config, let_threads_sleep
from dinoreg.errors import VerdictError
from regtask.errors import DataError, Fault, OutputError
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.images import read_header, read_volume

if TYPE_CHECKING:
    from dinoreg.preprocess.pair import ImagePair, Scan

log = logging.getLogger(__name__)

PATHS = ("FIXED_CT", "FIXED_PET", "MOVING_CT", "MOVING_PET", "FIELD")


def run_pair(options: argparse.Namespace) -> None:
    """Register one pair.

    Args:
        options: those of a run, and `paths`, five.

    Raises:
        DataError: neither CT can be read, so that the size of the field is not known; or, with "raise", a
            fault of any image.
        OutputError: the field cannot be written.
        VerdictError: with `strict`, the result cannot be believed; the field is written all the same.
    """
    let_threads_sleep()
    from dinoreg.encoders.pool import EncoderPool
    from dinoreg.preprocess.pair import ImagePair
    from dinoreg.runtime import choose_device
    from dinoreg.task.entry import attempt, say_verdicts

    fixed, _, moving, _, field = options.paths
    config = chosen_config(options)
    _refuse_impossible_name(field)
    pool = EncoderPool(choose_device(options.device))
    pool.sources(config.features.encoders)  # weights that are absent are to be known before any image is read
    grid = _grid_of_field(fixed, moving)
    log.info("PET is not read: CT alone is registered")

    def read() -> ImagePair:
        return ImagePair(_scan(fixed), _scan(moving))

    name = field.name
    found = attempt(name, read, config, pool=pool, on_failure=options.on_failure)
    vectors, instead = found.safe_field(grid.shape)
    try:
        field.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(field.parent), got=str(error))) from error
    write_field(field, vectors, grid, layout="channel_first")
    if found.registration is None:
        log.error("%s holds %s instead: %s", field, instead, found.error)
        return
    log.info("%s", field)
    unbelieved = say_verdicts({name: found.registration.as_dict()})
    if options.strict and unbelieved:
        raise VerdictError(*unbelieved)


def _refuse_impossible_name(field: Path) -> None:
    if not field.name.endswith((".nii.gz", ".nii")):
        raise OutputError(Fault("not the name of a field", str(field), ".nii.gz or .nii, as the fifth path"))


def _grid_of_field(fixed: Path, moving: Path) -> Grid:
    """Return the grid of fixed, or of moving where fixed cannot be read: the platform has them on one."""
    try:
        return read_header(fixed).grid
    except DataError as error:
        try:
            return read_header(moving).grid
        except DataError as other:
            raise DataError(*error.faults, *other.faults) from other


def _scan(path: Path) -> Scan:
    from dinoreg.preprocess.pair import Scan

    volume = read_volume(path)
    if text := volume.invalid_text():
        log.warning("%s: %s", path, text)
    return Scan(volume.data, volume.grid, modality="CT", invalid=volume.invalid, name=str(path))
