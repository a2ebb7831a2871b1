"""The options of `dinoreg register`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dinoreg.cli.options import add_scan_arguments

_DESCRIPTION = """Register the moving scan to the fixed one, whatever their formats, grids and orientations,
and bring along what belongs to moving. Read are NIfTI, MetaImage, NRRD and DICOM folders."""
_WRITTEN = """Written are OUT/transform.h5 (opens in 3D Slicer and SimpleITK), warped.nii.gz, report.html,
register.json, and labels_*, image_* and points_* of what comes along."""


def add_register_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser(
        "register", help="register two scans", description=_DESCRIPTION, epilog=_WRITTEN
    )
    parser.add_argument("--fixed", type=Path, required=True, metavar="SCAN")
    parser.add_argument("--moving", type=Path, required=True, metavar="SCAN")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    add_scan_arguments(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", default="auto", help="see: dinoreg presets (default: auto)")
    source.add_argument("--config", type=Path, metavar="FILE.toml")
    parser.add_argument(
        "--transform",
        choices=("rigid", "affine", "deformable"),
        default="",
        help="what is looked for; rigid and affine are presets too (default: what the preset does)",
    )
    parser.add_argument(
        "--initial", type=Path, metavar="T", help="transform to begin from, fixed to moving (.h5, .tfm, .mat)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument(
        "--image", type=Path, nargs="+", default=[], metavar="I", help="further images of moving"
    )
    parser.add_argument(
        "--labels", type=Path, nargs="+", default=[], metavar="L", help="label maps of moving"
    )
    parser.add_argument(
        "--points",
        type=Path,
        nargs="+",
        default=[],
        metavar="P",
        help="points of fixed (.csv, .fcsv, .mrk.json)",
    )
    parser.add_argument("--space", choices=("lps", "ras", "voxel"), help="of the points in csv files")
    parser.add_argument(
        "--series",
        nargs="+",
        default=[],
        metavar="UID",
        help="of DICOM folders with several, among masks, images and labels; one for each such folder",
    )
    parser.add_argument(
        "--other-header",
        action="store_true",
        help="take images and labels whose header differs from that of moving though their shape is the same",
    )
    parser.add_argument("--inverse", action="store_true", help="also write inverse.h5, from moving to fixed")
    parser.add_argument("--no-report", action="store_true", help="no picture and no report.html")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in DIR")
    parser.add_argument("--strict", action="store_true", help="exit code 8 if the verdict is `failed`")
