"""`dinoreg transform` from parsed options."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoreg.cli.options import let_threads_sleep
from dinoreg.errors import ConfigError, NumericalError
from regtask.errors import DataError, Fault, OutputError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from regtask.grid import Grid

log = logging.getLogger(__name__)


def run_transform(options: argparse.Namespace) -> None:
    """Run the verb.

    Raises:
        ConfigError: the options do not say what they have to.
        DataError: a file cannot be used.
        NumericalError: an inverse misses by more than the limit; it is not written.
        OutputError: a result exists, or cannot be written.
    """
    let_threads_sleep()
    for name in ("output", "strain", "principal"):
        path = getattr(options, name, None)
        if path is not None and path.exists() and not options.overwrite:
            raise OutputError(Fault("output exists already", str(path), remedy="say --overwrite"))
    {
        "info": _info,
        "convert": _convert,
        "invert": _invert,
        "compose": _convert,
        "jacobian": _jacobian,
    }[options.action](options)


def _info(options: argparse.Namespace) -> None:
    from dinoreg.desk.exchange.describe import describe

    fixed, transform = _read(options, [options.transform])
    facts = describe(transform, fixed)
    if options.json:
        sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(facts)) + "\n")


def _convert(options: argparse.Namespace) -> None:
    several = options.action == "compose"
    fixed, transform = _read(options, options.transform if several else [options.transform])
    _write(options, transform, fixed)


def _invert(options: argparse.Namespace) -> None:
    from dinoreg.desk.exchange.inverse import invert
    from dinoreg.desk.exchange.parts import first_lattice

    fixed, transform = _read(options, [options.transform])
    moving = _grid(options.moving)
    fixed = fixed or first_lattice(transform)
    if fixed is None or moving is None:
        lacking = "--moving" if moving is None else "--fixed"
        what = "where the inverse is wanted, or known, is not said"
        raise ConfigError(
            Fault(what, str(options.transform), "an image of its grid", remedy=f"name {lacking}")
        )
    matters = _on_grid(options.mask, fixed) if options.mask else None
    inverse = invert(transform, fixed, moving, matters=matters)
    if not inverse.compared:
        remedy = "is --moving in the space that the transform leads to?"
        raise DataError(Fault("no voxel of it leads into fixed", str(options.moving), remedy=remedy))
    said = (
        f"to fixed and back, {inverse.compared} places of moving end at most {inverse.largest_mm:.3g} mm from"
        f" where they were (99 %: {inverse.most_mm:.3g})"
    )
    if inverse.largest_mm > options.limit_mm:
        worst = ", ".join(f"{value:.1f}" for value in inverse.worst_lps)
        raise NumericalError(
            Fault(
                "the inverse misses",
                str(options.transform),
                f"at most {options.limit_mm:g} mm",
                f"{said}; the worst one at ({worst}) LPS mm",
                "see whether it folds there (dinoreg transform jacobian); --mask names what matters, a finer"
                " --moving helps where the field is steep, and --limit-mm accepts more; nothing was written",
            )
        )
    log.info("%s", said)
    # The inverse leads from moving to fixed: to its writer, moving is what fixed is to others.
    _write(options, inverse.transform, moving, reached=fixed)


def _jacobian(options: argparse.Namespace) -> None:
    from dinoreg.desk.exchange.derivative import derivatives, figures
    from dinoreg.desk.exchange.parts import first_lattice
    from dinoreg.desk.images import write_any

    fixed, transform = _read(options, [options.transform])
    grid = fixed or first_lattice(transform)
    if grid is None:
        what = "the transform says no lattice of its own"
        raise ConfigError(Fault(what, str(options.transform), "a grid for the images", remedy="name --fixed"))
    found = derivatives(
        transform, grid, strain=options.strain is not None, principal=options.principal is not None
    )
    for path, values in (
        (options.output, found.determinant),
        (options.strain, found.strain),
        (options.principal, found.principal),
    ):
        if path is not None and values is not None:
            write_any(path, values, grid)
            log.info("%s: %s voxels", path, " x ".join(map(str, grid.shape)))
    sys.stdout.write("\n".join(_lines({"jacobian_determinant": figures(found.determinant)})) + "\n")


def _read(options: argparse.Namespace, paths: list[Path]) -> tuple[Grid | None, sitk.Transform]:
    """Read one or several transforms as one, and the grid of --fixed."""
    from dinoreg.desk.exchange.parts import joined
    from dinoreg.desk.exchange.read import read_any_transform

    fixed, moving = _grid(options.fixed), _grid(options.moving)
    read = []
    for number, path in enumerate(paths):
        # The images named are those of the whole way: only its ends are theirs.
        first, last = number == 0, number == len(paths) - 1
        one = read_any_transform(
            path, form=options.form, fixed=fixed if first else None, moving=moving if last else None
        )
        read.append(one.transform)
    return fixed, read[0] if len(read) == 1 else joined(read)


def _write(
    options: argparse.Namespace, transform: sitk.Transform, fixed: Grid | None, reached: Grid | None = None
) -> None:
    from dinoreg.desk.exchange.write import write_any_transform

    error = write_any_transform(
        options.output,
        transform,
        form=options.to,
        fixed=fixed,
        moving=reached or _grid(options.moving),
        stride=getattr(options, "stride", 1),
        precision=getattr(options, "dtype", "float32"),
    )
    megabytes = options.output.stat().st_size / 1e6
    log.info("%s: %.2f MB, %s", options.output, megabytes, error or "stored exactly")


def _grid(path: Path | None) -> Grid | None:
    from dinoreg.desk.images import read_grid

    return None if path is None else read_grid(path)


def _on_grid(path: Path, grid: Grid) -> Any:
    from dinoreg.desk.exchange.parts import identity
    from dinoreg.desk.images import read_any
    from dinoreg.desk.resampling import resample

    return resample(read_any(path, what="mask"), grid, identity(), labels=True).data > 0


def _lines(facts: Mapping[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for name, value in facts.items():
        text = name.replace("_", " ")
        if isinstance(value, Mapping):
            lines += [f"{'  ' * depth}{text}:", *_lines(value, depth + 1)]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for number, one in enumerate(value):
                lines += [f"{'  ' * depth}{text} {number + 1}:", *_lines(one, depth + 1)]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{'  ' * depth}{text}: {shown}")
    return lines
