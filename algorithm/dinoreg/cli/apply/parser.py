"""The options of `dinoreg apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_DESCRIPTION = """Apply a transform of `dinoreg register`, or any that `dinoreg transform` reads. Everything
goes through scanner space, so an image may have any grid: its header says where it lies."""
_RULE = """A transform leads from points of its fixed image to points of its moving image. So images, labels,
doses and structures of moving are brought to the grid of --reference, an image in the space of fixed; points
of fixed are brought to moving. The other way round takes inverse.h5."""


def add_apply_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser(
        "apply",
        help="apply a transform to images, labels, doses, structures, points",
        description=_DESCRIPTION,
        epilog=_RULE,
    )
    parser.add_argument("--transform", type=Path, required=True, metavar="T")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", type=Path, help="outside, its lowest value; keeps its data type")
    what.add_argument("--labels", type=Path, help="outside, 0; keeps its data type")
    what.add_argument("--dose", type=Path, help="RTDOSE, or an image of Gy; outside, 0")
    what.add_argument("--rtstruct", type=Path, help="structures drawn on --moving, a DICOM folder")
    what.add_argument("--points", type=Path, help="points of fixed: csv (with --space), fcsv, mrk.json")
    parser.add_argument("--reference", type=Path, metavar="IMAGE", help="the grid of the result")
    parser.add_argument(
        "--moving", type=Path, metavar="IMAGE", help="of the structures, or of points in voxels"
    )
    for role, whose in (
        ("", "of what is applied to"),
        ("reference-", "of --reference"),
        ("moving-", "of --moving"),
    ):
        parser.add_argument(
            f"--{role}series", default="", metavar="UID", help=f"{whose}: of a folder with several"
        )
    parser.add_argument(
        "--interpolation",
        choices=("linear", "bspline", "nearest", "smooth"),
        help="images: linear (default), bspline, nearest; labels: nearest (default), smooth: boundaries"
        " interpolated between voxels",
    )
    parser.add_argument("--space", choices=("lps", "ras", "voxel"), help="of the points in a csv file")
    parser.add_argument(
        "--other-header", action="store_true", help="take an image whose header differs from that registered"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--overwrite", action="store_true")
