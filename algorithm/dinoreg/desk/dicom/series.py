"""A folder of DICOM slices: which series it holds, whether one makes a volume, and its voxels.

Headers are read by pydicom and checked before SimpleITK reads the voxels: that one only warns of a missing
slice, and spreads the others evenly over the gap.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray

from regtask.errors import DataError, Fault

_PLACE = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    *_PLACE,
    "RescaleSlope",
    "FrameOfReferenceUID",
]
# Files with pixels that are no slices of a scan.
_NO_SCANS = ("RTDOSE", "RTIMAGE", "SEG")
_PLACE_MM, _SHARE = 1e-2, 0.02  # rounding of positions, and of the way between two slices
_TILT = 1e-2  # sideways per forward: half a degree
_LISTED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series of a folder.

    Attributes:
        uid: of the series.
        description: as the scanner has it.
        modality: CT, MR, ...
        headers: of its files, without pixels.
        paths: of these files, in the same order.
    """

    uid: str
    description: str
    modality: str
    headers: tuple[Any, ...]
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.uid} ({self.modality} {self.description or 'no description'}, {len(self.paths)} files)"


def series_of(folder: Path) -> list[Series]:
    """Return the series of scans in a folder; structure sets, doses and files of other kinds are skipped."""
    found: dict[str, list[tuple[Any, Path]]] = {}
    for path in sorted(folder.iterdir()):
        if path.name == "DICOMDIR" or not path.is_file():
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except Exception:  # pydicom raises whatever a strange file happens to cause
            continue
        if "Rows" in header and "SeriesInstanceUID" in header and header.get("Modality") not in _NO_SCANS:
            found.setdefault(str(header.SeriesInstanceUID), []).append((header, path))
    return [
        Series(
            uid,
            str(files[0][0].get("SeriesDescription", "")),
            str(files[0][0].get("Modality", "")),
            tuple(header for header, _ in files),
            tuple(path for _, path in files),
        )
        for uid, files in found.items()
    ]


def series_among(
    folder: Path,
    uids: Collection[str],
    *,
    what: str = "two series of one DICOM folder",
    expected: str = "one",
    remedy: str = "copy each to a folder of its own",
) -> str:
    """Return which of several series a folder holds; empty where it holds none of them.

    Args:
        folder: of DICOM slices.
        uids: of the series that may be meant.
        what: says what is wrong where it holds two.
        expected: instead.
        remedy: for that.

    Raises:
        DataError: it holds two of them.
    """
    found = [series for series in series_of(folder) if series.uid in uids]
    if len(found) > 1:
        raise DataError(
            Fault(
                what,
                str(folder),
                expected,
                "; ".join(map(str, found)),
                remedy,
            )
        )
    return found[0].uid if found else ""


def choose_series(folder: Path, uid: str = "", *, option: str = "") -> Series:
    """Return a series of a folder, its files in the order of their slices.

    Args:
        folder: of DICOM files.
        uid: of the series; may be left out where there is one only.
        option: that names one, for the message; empty where there is none.

    Raises:
        DataError: there is none, several and none is named, or what is there is not one volume.
    """
    found = series_of(folder)
    if not found:
        raise DataError(Fault("no DICOM series", str(folder), "a folder of DICOM slices"))
    chosen = [series for series in found if series.uid == uid] if uid else found
    if len(chosen) != 1:
        raise DataError(
            Fault(
                "no such DICOM series" if uid else "several DICOM series",
                str(folder),
                "one series, or its UID",
                "; ".join(map(str, found)),
                f"name one with {option} UID" if option else "copy the one to a folder of its own",
            )
        )
    return _in_order(chosen[0], folder)


def read_series(series: Series, folder: Path) -> sitk.Image:
    """Read the voxels of a series, slope and intercept applied.

    Args:
        series: as `choose_series` returns it.
        folder: named in messages.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if len(series.paths) == 1:
            return sitk.ReadImage(str(series.paths[0]))
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in series.paths])
        if len({_slope(header) for header in series.headers}) > 1:
            reader.SetOutputPixelType(sitk.sitkFloat32)  # the type of the first slice may not hold the others
        return reader.Execute()
    except (RuntimeError, ValueError, TypeError) as error:  # the latter two of a slope that is no number
        raise DataError(
            Fault("cannot read the DICOM series", str(folder), got=str(error).splitlines()[-1])
        ) from error


def _slope(header: Any) -> float:
    """The factor of a slice; an element that is there but empty says as little as none."""
    slope = header.get("RescaleSlope")
    return 1.0 if slope is None else float(slope)


def _in_order(series: Series, folder: Path) -> Series:
    where = f"{folder}, series {series.uid}"
    try:
        frames = [int(header.get("NumberOfFrames", 1) or 1) for header in series.headers]
    except (ValueError, TypeError) as error:
        raise DataError(Fault("no number of frames", where, "a whole number", str(error))) from error
    if max(frames) > 1:
        if len(frames) > 1:
            got = f"{len(frames)} files of up to {max(frames)} frames"
            raise DataError(Fault("several multi-frame files in one series", where, "one file", got))
        return series
    placed = [_place(header, path) for header, path in zip(series.headers, series.paths, strict=True)]
    _refuse_differing(series.headers, where)
    positions = np.array([place[6:9] for place in placed])
    axes = placed[0][:6].reshape(2, 3)
    normal = np.cross(axes[0], axes[1])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    if len(order) > 1:
        _refuse_uneven(along[order], where)
        way = positions[order[-1]] - positions[order[0]]
        forward = abs(float(way @ normal))
        sideways = float(np.linalg.norm(way - (way @ normal) * normal))
        if sideways > _TILT * forward:
            got = f"each {np.degrees(np.arctan2(sideways, forward)):.1f} degrees off"
            remedy = "resample the tilted scan to straight axes first"
            raise DataError(
                Fault("slices are not stacked straight (gantry tilt)", where, got=got, remedy=remedy)
            )
    return Series(
        series.uid,
        series.description,
        series.modality,
        tuple(series.headers[n] for n in order),
        tuple(series.paths[n] for n in order),
    )


def _place(header: Any, path: Path) -> NDArray[np.float64]:
    """Orientation, position and pixel spacing of a slice, (11,)."""
    try:
        parts = [header.get(key) for key in _PLACE]
        place = np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])
        if [np.size(part) for part in parts] != [6, 3, 2] or not np.isfinite(place).all():
            raise ValueError(", ".join(map(str, parts)))
    except (ValueError, TypeError) as error:
        raise DataError(
            Fault("slices that do not say where they lie", str(path), ", ".join(_PLACE), str(error))
        ) from error
    return place


def _refuse_differing(headers: Sequence[Any], where: str) -> None:
    first = headers[0]
    for header in headers[1:]:
        same_size = (header.Rows, header.Columns) == (first.Rows, first.Columns)
        if not same_size or not np.allclose(header.PixelSpacing, first.PixelSpacing, rtol=1e-4):
            got = f"{first.Columns} x {first.Rows} and {header.Columns} x {header.Rows}, or other pixel sizes"
            raise DataError(Fault("slices of several sizes in one series", where, "one size", got))
        if not np.allclose(header.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3):
            remedy = "a scout, or several planes? Move the others to another folder"
            raise DataError(Fault("slices turned against one another in one series", where, remedy=remedy))


def _refuse_uneven(along: NDArray[np.float64], where: str) -> None:
    """Refuse slices that are not one step apart; `along` are their places, mm, ascending."""
    steps = np.diff(along)
    if steps.min() < _PLACE_MM:
        places = len(along) - int(np.count_nonzero(steps < _PLACE_MM))
        raise DataError(
            Fault(
                "several slices at one place",
                where,
                "one volume",
                f"{len(along)} slices at {places} places: time points or contrasts in one series",
                "split it into one folder per volume",
            )
        )
    step = float(np.median(steps))
    wrong = np.abs(steps - step) > _SHARE * step + _PLACE_MM
    if not wrong.any():
        return
    gaps = [
        f"{low:.2f} to {high:.2f} mm"
        for (low, high), bad in zip(pairwise(along.tolist()), wrong.tolist(), strict=True)
        if bad
    ]
    got = f"{step:g} mm apart, but {', '.join(gaps[:_LISTED])}"
    multiples = np.abs(steps - np.rint(steps / step) * step) <= _SHARE * step + _PLACE_MM
    if multiples.all() and (np.rint(steps / step) >= 1).all():
        count = int((np.rint(steps / step) - 1).sum())
        remedy = "export the series again, whole"
        raise DataError(
            Fault(f"{count} missing slice{'s' if count > 1 else ''}", where, "no gap", got, remedy)
        )
    remedy = "resample it to even slices first"
    raise DataError(Fault("slices unevenly spaced", where, "one distance between slices", got, remedy))
