"""`dinoreg apply`: a transform applied to an image, a label map, a dose or points."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from dinoreg.cli.options import let_threads_sleep
from regtask.errors import DataError, Fault, OutputError

log = logging.getLogger(__name__)

_DESCRIPTION = """Apply a transform of `dinoreg register`, or any that ITK reads. Everything goes through
scanner space, so an image may have any grid: its header says where it lies."""
_RULE = """A transform leads from points of its fixed image to points of its moving image. So images, labels
and doses of moving are brought to the grid of --reference, an image in the space of fixed; points of fixed
are brought to moving. The other way round takes inverse.h5."""


def add_apply_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser(
        "apply", help="apply a transform of register", description=_DESCRIPTION, epilog=_RULE
    )
    parser.add_argument("--transform", type=Path, required=True, metavar="T.h5")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", type=Path, help="linear interpolation; outside, its lowest value")
    what.add_argument("--labels", type=Path, help="nearest neighbour; outside, 0")
    what.add_argument("--dose", type=Path, help="linear interpolation; outside, 0")
    what.add_argument("--points", type=Path, help="points of fixed: csv (with --space), fcsv, mrk.json")
    parser.add_argument("--reference", type=Path, metavar="IMAGE", help="the grid of the result")
    parser.add_argument("--space", choices=("lps", "ras", "voxel"), help="of the points in a csv file")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--overwrite", action="store_true")


def run_apply(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        ConfigError: points of a csv without a space.
        DataError: a file cannot be used, or nothing of it comes to lie inside the reference.
        OutputError: the result exists, or cannot be written.
    """
    let_threads_sleep()
    from dinoreg.desk.images import read_any, read_typed, write_any
    from dinoreg.desk.output import in_stored_type
    from dinoreg.desk.points import read_points, write_points
    from dinoreg.desk.register import resample
    from dinoreg.desk.transforms import read_transform, transform_points

    if options.output.exists() and not options.overwrite:
        raise OutputError(Fault("output exists already", str(options.output), remedy="say --overwrite"))
    transform = read_transform(options.transform)
    if options.reference is None and (options.points is None or options.space == "voxel"):
        raise DataError(
            Fault("no --reference", "options", "an image whose grid the result, or the voxels, are on")
        )
    if options.points is not None:
        grid = read_any(options.reference).grid if options.reference else None
        points = read_points(options.points, options.space, grid)
        write_points(options.output, points, transform_points(transform, points.lps), grid)
        log.info("%s: %d points of moving", options.output, len(points.lps))
        return
    source = options.image or options.labels or options.dose
    volume, dtype = read_typed(source)
    target = read_any(options.reference, what="reference").grid
    outside = float(volume.data.min()) if options.image else 0.0
    moved = resample(volume, target, transform, labels=options.labels is not None, outside=outside)
    if float(moved.data.min()) == float(moved.data.max()) == outside:
        raise DataError(
            Fault("nothing of it comes to lie inside the reference", str(source), str(options.reference))
        )
    write_any(options.output, in_stored_type(moved.data, dtype), target)
    log.info("%s: %s voxels of %s", options.output, " x ".join(map(str, target.shape)), dtype)
