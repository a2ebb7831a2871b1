"""What `dinoreg register` reads: the two scans, and what comes along, checked against them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dinoreg.desk.dicom.series import series_among
from dinoreg.desk.images import read_any, read_label_map, read_typed
from dinoreg.desk.points import Points, read_points
from dinoreg.desk.resampling import refuse_apart, refuse_other_header
from dinoreg.errors import ConfigError
from dinoreg.warp.outside import refuse_points_outside
from regtask.errors import Fault
from regtask.images import Volume
from regtask.physical import from_voxels, to_voxels

Typed = tuple[Volume, np.dtype[np.generic]]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Everything that was read.

    Attributes:
        fixed: the fixed scan.
        moving: the moving scan.
        masks: "fixed" and "moving" -> a mask, where one was given.
        images: file -> image of moving, and the type that it is stored in.
        labels: file -> label map of moving, likewise.
        points: file -> points of fixed.
    """

    fixed: Volume
    moving: Volume
    masks: Mapping[str, Volume]
    images: Mapping[Path, Typed]
    labels: Mapping[Path, Typed]
    points: Mapping[Path, Points]


def read_all(options: argparse.Namespace, series: Mapping[Path, str]) -> Read:
    """Read whatever the options name: a wrong file is to be known before the minutes of a registration.

    Args:
        options: of the verb.
        series: folder -> UID, see `series_of_folders`.

    Raises:
        TaskError: a file cannot be read, or does not lie where it should.
    """
    named: dict[str, Any] = {"option": "--series"}
    moving = read_any(
        options.moving, series=options.moving_series, what="moving image", option="--moving-series"
    )
    images = {path: read_typed(path, series=series.get(path, ""), **named) for path in options.image}
    labels = {path: read_label_map(path, series=series.get(path, ""), **named) for path in options.labels}
    fixed = read_any(options.fixed, series=options.fixed_series, what="fixed image", option="--fixed-series")
    masks = {
        role: read_any(path, series=series.get(path, ""), what=f"{role} mask", **named)
        for role in ("fixed", "moving")
        if (path := getattr(options, f"{role}_mask")) is not None
    }
    for path, (volume, _) in (images | labels).items():
        refuse_apart(volume.grid, moving.grid, str(path), "moving")
        if not options.other_header:
            refuse_other_header(volume.grid, moving.grid, str(path), "moving")
    points = {path: read_points(path, options.space, fixed.grid) for path in options.points}
    for path, read in points.items():
        given = from_voxels(to_voxels(read.lps, fixed.grid, "lps"), fixed.grid, read.space)
        refuse_points_outside(given, fixed.grid, read.space, path)
    return Read(fixed, moving, masks, images, labels, points)


def series_of_folders(options: argparse.Namespace) -> dict[Path, str]:
    """Find the folder of each series that --series names.

    Returns:
        Folder -> UID, of masks, images and labels.

    Raises:
        ConfigError: a series is in none of the folders.
        DataError: two are in one folder.
    """
    given = [options.fixed_mask, options.moving_mask, *options.image, *options.labels]
    folders = [path for path in given if path is not None and path.is_dir()] if options.series else []
    found = {folder: uid for folder in folders if (uid := series_among(folder, options.series))}
    if unknown := sorted(set(options.series) - set(found.values())):
        raise ConfigError(
            Fault(
                "no such DICOM series",
                f"--series {' '.join(unknown)}",
                "one of a folder that --fixed-mask, --moving-mask, --image or --labels names",
                remedy="those of the scans are named by --fixed-series and --moving-series",
            )
        )
    return found
