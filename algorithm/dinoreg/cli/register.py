"""`dinoreg register`: two scans, one command."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dinoreg.cli.options import chosen_config, let_threads_sleep
from dinoreg.errors import ConfigError, VerdictError
from regtask.errors import Fault

log = logging.getLogger(__name__)

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
    for role in ("fixed", "moving"):
        parser.add_argument(f"--{role}-mask", type=Path, metavar="MASK", help="what counts")
        parser.add_argument(f"--{role}-modality", default="", metavar="CT|MR", help="where it is known")
        parser.add_argument(
            f"--{role}-series", default="", metavar="UID", help="of a DICOM folder with several"
        )
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
        "--other-header",
        action="store_true",
        help="take images and labels whose header differs from that of moving though their shape is the same",
    )
    parser.add_argument("--inverse", action="store_true", help="also write inverse.h5, from moving to fixed")
    parser.add_argument("--no-report", action="store_true", help="no picture and no report.html")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in DIR")
    parser.add_argument("--strict", action="store_true", help="exit code 8 if the verdict is `failed`")


def run_register(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        TaskError: see `dinoreg.desk.register.register`.
        VerdictError: with --strict, the result cannot be believed; it is written all the same.
    """
    let_threads_sleep()
    from dinoreg.desk.images import read_any, read_label_map, read_typed
    from dinoreg.desk.output import write_image, write_labels, write_result
    from dinoreg.desk.points import read_points, write_points
    from dinoreg.desk.register import register
    from dinoreg.desk.resampling import refuse_apart, refuse_other_header
    from dinoreg.desk.result_files import TRANSFORM, note_inputs, open_folder, remove_earlier
    from dinoreg.desk.transforms import transform_points, write_transform
    from dinoreg.stage import StageBegins
    from dinoreg.warp.outside import refuse_points_outside
    from regtask.physical import from_voxels, to_voxels

    _choose_by_transform(options)
    config = chosen_config(options)
    named = _names(options)
    # What comes along is read first: a wrong file is to be known before the minutes of a registration.
    moving = read_any(
        options.moving, series=options.moving_series, what="moving image", option="--moving-series"
    )
    images = {path: read_typed(path) for path in options.image}
    maps = {path: read_label_map(path) for path in options.labels}
    fixed = read_any(options.fixed, series=options.fixed_series, what="fixed image", option="--fixed-series")
    for path, (volume, _) in (images | maps).items():
        refuse_apart(volume.grid, moving.grid, str(path), "moving")
        if not options.other_header:
            refuse_other_header(volume.grid, moving.grid, str(path), "moving")
    points = {path: read_points(path, options.space, fixed.grid) for path in options.points}
    for path, read in points.items():
        given = from_voxels(to_voxels(read.lps, fixed.grid, "lps"), fixed.grid, read.space)
        refuse_points_outside(given, fixed.grid, read.space, path)
    initial = _initial(options)
    files = _inputs(options, named)
    inputs = note_inputs(files, {"fixed": options.fixed_series, "moving": options.moving_series})
    open_folder(options.output, named.values(), overwrite=options.overwrite)
    result = register(
        fixed,
        moving,
        config=config,
        fixed_mask=options.fixed_mask,
        moving_mask=options.moving_mask,
        fixed_modality=options.fixed_modality,
        moving_modality=options.moving_modality,
        initial=initial,
        device=options.device,
        on_stage=lambda event: log.info("%s", event.name) if isinstance(event, StageBegins) else None,
    )
    remove_earlier(options.output, files.values())
    # First of all: whatever goes wrong with what comes along, the registration is not lost.
    write_transform(options.output / TRANSFORM, result.transform)
    grid, labels = result.fixed.grid, None
    for path, (volume, dtype) in images.items():
        write_image(options.output / named[path], volume, dtype, grid, result)
    for path, (volume, dtype) in maps.items():
        moved = write_labels(options.output / named[path], volume, dtype, grid, result)
        labels = labels or (volume, moved)
    for path, read in points.items():
        moved_points = transform_points(result.transform, read.lps)
        write_points(options.output / named[path], read, moved_points, result.moving.grid)
    inverse = result.inverse() if options.inverse else None
    write_result(
        options.output,
        result,
        inputs=inputs,
        settings=config.model_dump(mode="json"),
        written=list(named.values()),
        inverse=inverse,
        labels=labels,
        points=next(((read.lps, ()) for read in points.values()), None),
        report=not options.no_report,
    )
    if inverse is not None:
        log.info(
            "inverse: 99 %% of moving returns within %.3f mm, all of it within %.3f mm",
            inverse.residual_mm,
            inverse.largest_mm,
        )
    verdict = result.verdict
    if verdict is None:
        return
    log.log(
        logging.INFO if verdict.grade == "good" else logging.WARNING,
        "verdict: %s%s",
        verdict.grade,
        "".join(f"; {reason}" for reason in verdict.reasons),
    )
    if options.strict and verdict.grade == "failed":
        raise VerdictError(
            Fault("the registration failed", str(options.output), got="; ".join(verdict.reasons))
        )


def _choose_by_transform(options: argparse.Namespace) -> None:
    """Take the preset that a kind of transform stands for.

    Raises:
        ConfigError: another preset, or a file, was asked for at the same time.
    """
    kind, linear = options.transform, ("rigid", "affine")
    if kind in linear and (options.config or options.preset not in ("auto", kind)):
        got = str(options.config or options.preset)
        remedy = "a preset or file of your own says itself what it looks for"
        raise ConfigError(Fault("two registrations asked for", f"--transform {kind}", kind, got, remedy))
    if kind == "deformable" and not options.config and options.preset in linear:
        raise ConfigError(Fault("two registrations asked for", "--transform deformable", got=options.preset))
    if kind in linear:
        options.preset = kind


def _initial(options: argparse.Namespace) -> Any:
    """Read the transform to begin from; None where there is none.

    Raises:
        ConfigError: an inverse is asked for, and there is no way back through it.
        DataError: it cannot be read, or is not one of space.
    """
    from dinoreg.desk.linear import matrix_of
    from dinoreg.desk.transforms import read_transform

    if options.initial is None:
        return None
    initial = read_transform(options.initial)
    if matrix_of(initial) is None and options.inverse:
        what, remedy = "no way back through the initial transform", "leave --inverse out"
        raise ConfigError(Fault(what, str(options.initial), "a linear one", remedy=remedy))
    return initial


def _inputs(options: argparse.Namespace, named: Mapping[Path, str]) -> dict[str, Path]:
    """Return every file that is read, by its role in register.json."""
    roles = ("fixed", "moving", "fixed_mask", "moving_mask", "initial")
    given = {role: path for role in roles if (path := getattr(options, role)) is not None}
    return given | {name: path for path, name in named.items()}


def _names(options: argparse.Namespace) -> dict[Path, str]:
    """Name what is written of each file that comes along, all different.

    Raises:
        ConfigError: a file is named twice, or two files would be written under one name.
    """
    given = [*options.image, *options.labels, *options.points]
    if twice := sorted({str(path) for path in given if given.count(path) > 1}):
        raise ConfigError(Fault("file named twice", ", ".join(twice), "an image, a label map or points"))
    names: dict[Path, str] = {}
    for kind, paths in (("image", options.image), ("labels", options.labels)):
        names |= {path: f"{kind}_{_stem(path)}.nii.gz" for path in paths}
    names |= {path: f"points_{path.name}" for path in options.points}
    doubled = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if doubled:
        raise ConfigError(
            Fault("two files of one name", ", ".join(doubled), remedy="give them different names first")
        )
    return names


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".gz", ".nii", ".mha", ".mhd", ".nrrd"):
        name = name.removesuffix(suffix)
    return name
