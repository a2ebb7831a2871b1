"""The options of `dinoreg transform`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dinoreg.cli.options import FORM_NAMES

_DESCRIPTION = """Look at a transform, convert it between programs, invert, compose and differentiate it."""
_FORMS = """Read and written are: ITK's files (.h5, .tfm, .mat: SimpleITK, 3D Slicer, ANTs' affines);
displacement images in LPS mm (.nii.gz with intent 1007 as of ANTs, .nrrd, .mha: 3D Slicer, elastix);
parameter files of elastix (.txt: linear, B-spline); Learn2Reg fields in voxels (.nii.gz of (I, J, K, 3) and
.npz). A transform leads from points of its fixed image to points of its moving image."""


def add_transform_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser(
        "transform",
        help="inspect, convert, invert, compose or differentiate a transform",
        description=_DESCRIPTION,
        epilog=_FORMS,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_info(actions)
    _add_convert(actions)
    _add_invert(actions)
    _add_compose(actions)
    _add_jacobian(actions)


def _add_info(actions: Any) -> None:
    info = _action(actions, "info", "its parts, how far it moves, whether it folds")
    info.add_argument("transform", type=Path, metavar="T")
    _add_grids(info, "where it is looked at; by default its own lattice")
    info.add_argument("--json", action="store_true", help="as JSON")


def _add_convert(actions: Any) -> None:
    convert = _action(actions, "convert", "the same transform in the form of another program")
    convert.add_argument("--transform", type=Path, required=True, metavar="T")
    _add_grids(convert, "the lattice to store it on; by default its own")
    _add_writing(convert)


def _add_invert(actions: Any) -> None:
    invert = _action(
        actions, "invert", "from moving to fixed; exit code 6 where it misses by more than the limit"
    )
    invert.add_argument("--transform", type=Path, required=True, metavar="T")
    _add_grids(invert, "where it is known; by default its own lattice")
    invert.add_argument("--mask", type=Path, metavar="M", help="what matters, drawn on fixed; by default all")
    invert.add_argument(
        "--limit-mm", type=float, default=0.5, metavar="MM", help="largest residual (default: 0.5)"
    )
    _add_writing(invert, lattice=False)


def _add_compose(actions: Any) -> None:
    compose = _action(
        actions, "compose", "several in turn, the first one first: an image is interpolated once"
    )
    compose.add_argument("--transform", type=Path, required=True, nargs="+", metavar="T")
    _add_grids(compose, "the lattice of a single field; a .h5 keeps all parts as they are")
    _add_writing(compose)


def _add_jacobian(actions: Any) -> None:
    jacobian = _action(actions, "jacobian", "local change of volume, and strain, as images")
    jacobian.add_argument("--transform", type=Path, required=True, metavar="T")
    _add_grids(jacobian, "the grid of the images; by default the transform's own lattice")
    jacobian.add_argument(
        "--output", type=Path, required=True, metavar="IMAGE", help="determinant; 1: no change, <= 0: a fold"
    )
    jacobian.add_argument(
        "--strain", type=Path, metavar="IMAGE", help="Green-Lagrange, 6 values: xx, xy, xz, yy, yz, zz, LPS"
    )
    jacobian.add_argument("--principal", type=Path, metavar="IMAGE", help="the 3 principal strains")
    jacobian.add_argument("--overwrite", action="store_true")


def _action(actions: Any, name: str, what: str) -> argparse.ArgumentParser:
    description = f"{what[0].upper()}{what[1:]}."
    parser: argparse.ArgumentParser = actions.add_parser(name, help=what, description=description)
    return parser


def _add_grids(parser: argparse.ArgumentParser, fixed: str) -> None:
    parser.add_argument("--fixed", type=Path, metavar="IMAGE", help=fixed)
    parser.add_argument(
        "--moving",
        type=Path,
        metavar="IMAGE",
        help="in whose voxels a Learn2Reg field counts; of an inverse its grid",
    )
    parser.add_argument("--from", dest="form", choices=FORM_NAMES, help="what is read, if it does not tell")


def _add_writing(parser: argparse.ArgumentParser, *, lattice: bool = True) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="T")
    parser.add_argument("--to", choices=FORM_NAMES, help="what is written, if the suffix does not tell")
    if lattice:
        parser.add_argument(
            "--stride", type=int, default=1, metavar="N", help="store every n-th vector; says the error"
        )
        parser.add_argument(
            "--dtype", choices=("float32", "float16"), default="float32", help="of .npz; says the error"
        )
    parser.add_argument("--overwrite", action="store_true")
