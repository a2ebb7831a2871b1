"""What `dinoreg register` does."""

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


def run_register(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        TaskError: see `dinoreg.desk.register.register`.
        VerdictError: with --strict, the result cannot be believed; it is written all the same.
    """
    let_threads_sleep()
    from dinoreg.cli.register.along import read_all, series_of_folders
    from dinoreg.desk.output import write_image, write_labels, write_result
    from dinoreg.desk.points import write_points
    from dinoreg.desk.register import register
    from dinoreg.desk.result_files import TRANSFORM, note_inputs, open_folder, remove_earlier
    from dinoreg.desk.transforms import transform_points, write_transform
    from dinoreg.stage import StageBegins

    _choose_by_transform(options)
    config = chosen_config(options)
    named = _names(options)
    series = series_of_folders(options)
    read = read_all(options, series)
    initial = _initial(options)
    files = _inputs(options, named)
    # By role: one folder may hold the series of several.
    noted = {role: series.get(path, "") for role, path in files.items()}
    noted |= {"fixed": options.fixed_series, "moving": options.moving_series}
    inputs = note_inputs(files, noted)
    open_folder(options.output, named.values(), overwrite=options.overwrite)
    result = register(
        read.fixed,
        read.moving,
        config=config,
        fixed_mask=read.masks.get("fixed"),
        moving_mask=read.masks.get("moving"),
        fixed_modality=options.fixed_modality,
        moving_modality=options.moving_modality,
        initial=initial,
        device=options.device,
        on_stage=lambda event: log.info("%s", event.name) if isinstance(event, StageBegins) else None,
    )
    remove_earlier(options.output, files.values())
    # First of all: whatever goes wrong with what comes along, the registration is not lost.
    write_transform(options.output / TRANSFORM, result.transform)
    grid = result.fixed.grid
    for path, (volume, dtype) in read.images.items():
        write_image(options.output / named[path], volume, dtype, grid, result)
    labels = {
        _stem(path): (volume, write_labels(options.output / named[path], volume, dtype, grid, result))
        for path, (volume, dtype) in read.labels.items()
    }
    for path, points in read.points.items():
        moved = transform_points(result.transform, points.lps)
        write_points(options.output / named[path], points, moved, result.moving.grid)
    inverse = result.inverse() if options.inverse else None
    write_result(
        options.output,
        result,
        inputs=inputs,
        settings=config.model_dump(mode="json"),
        written=list(named.values()),
        inverse=inverse,
        labels=labels,
        points={path.name: points.lps for path, points in read.points.items()},
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
