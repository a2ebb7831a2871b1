"""Frames of one slice over time, and their labels, from NIfTI or MetaImage.

Arrays are (x, y, frame) on disk, or have their frames along another axis that is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.images import read_labels, read_volume
from regtask.metaimage import read_volume_mha
from regtask.nifti import read_nifti_header
from regtask.untrusted.opening import open_regular

_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Cine:
    """Frames of one slice.

    Attributes:
        frames: (T, X, Y) float32.
        spacing_mm: in the plane, along x and y.
        grid: of the file, frames along `axis`.
        axis: array axis of the file along which the frames lie.
    """

    frames: NDArray[np.float32]
    spacing_mm: tuple[float, float]
    grid: Grid
    axis: int


def read_cine(path: Path, *, frame_axis: int = 2) -> Cine:
    """Read a sequence from NIfTI or MetaImage.

    Raises:
        DataError: not readable, not three axes, fewer than two frames, or no spacing.
    """
    array, grid = _read(path, labels=False)
    frames = np.ascontiguousarray(np.moveaxis(array, frame_axis, 0), dtype=np.float32)
    _check_shape(path, frames.shape, frame_axis)
    first, second = (grid.spacing_mm[axis] for axis in range(3) if axis != frame_axis)
    return Cine(frames, (first, second), grid, frame_axis)


def read_cine_labels(path: Path, cine: Cine, numbers: Sequence[int]) -> dict[int, NDArray[np.integer]]:
    """Read the labels of some frames.

    Args:
        path: labels of all frames of the sequence, or of those in `numbers` alone, in that order.
        cine: the sequence.
        numbers: of the frames that have labels.

    Returns:
        Number of a frame -> its labels, (X, Y).

    Raises:
        DataError: not readable, no whole numbers, or another number or size of frames.
    """
    array, _ = _read(path, labels=True)
    labels = np.ascontiguousarray(np.moveaxis(array, cine.axis, 0))
    count = len(cine.frames)
    if labels.shape[1:] != cine.frames.shape[1:] or len(labels) not in (len(numbers), count):
        raise DataError(
            Fault(
                "labels and frames differ",
                str(path),
                f"{len(numbers)} or {count} frames of {cine.frames.shape[1:]}",
                f"{labels.shape[0]} of {labels.shape[1:]}",
            )
        )
    at = numbers if len(labels) == count else range(len(numbers))
    return {number: labels[index] for number, index in zip(numbers, at, strict=True)}


def check_frame(number: int, cine: Cine, where: str, what: str = "template") -> None:
    """Refuse the number of a frame that is not there.

    Raises:
        DataError: beyond the sequence.
    """
    count = len(cine.frames)
    if not 0 <= number < count:
        raise DataError(Fault(f"no such {what} frame", where, f"0 to {count - 1}", str(number)))


def _read(path: Path, *, labels: bool) -> tuple[NDArray[np.number], Grid]:
    if path.name.endswith(".mha"):
        _check_spacing(path)
        volume = read_volume_mha(path)
        if labels and (volume.invalid is not None or not np.array_equal(volume.data, np.rint(volume.data))):
            raise DataError(Fault("values that are not labels", str(path), "whole numbers"))
        return (volume.data.astype(np.int32) if labels else volume.data), volume.grid
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(Fault("unknown sequence format", str(path), ".nii, .nii.gz or .mha", path.name))
    shape = read_nifti_header(path).shape
    if len(shape) != 3:
        raise DataError(
            Fault(
                "not a 2D sequence",
                str(path),
                "three axes: x, y, frame",
                f"shape {shape}",
                "write one slice over time per file",
            )
        )
    if labels:
        return read_labels(path)
    volume = read_volume(path)
    return volume.data, volume.grid


def _check_spacing(path: Path) -> None:
    """MetaImage files without a spacing read as 1 mm; distances would be wrong without a word."""
    try:
        with open_regular(path) as stream:
            head = stream.read(_HEADER_BYTES)
    except OSError as error:
        raise DataError(Fault("cannot read", str(path), got=error.strerror or str(error))) from error
    if b"ElementSpacing" not in head.split(b"ElementDataFile")[0]:
        raise DataError(
            Fault(
                "no spacing",
                str(path),
                "ElementSpacing in the header",
                remedy="write the true pixel size in mm into the header; distances are measured with it",
            )
        )


def _check_shape(path: Path, shape: Sequence[int], frame_axis: int) -> None:
    if shape[0] < 2 or min(shape[1:]) < 2:
        raise DataError(
            Fault(
                "not a sequence",
                str(path),
                "two or more frames of two or more pixels per side",
                f"{shape[0]} frames of {tuple(shape[1:])}, frames along axis {frame_axis}",
                "choose the axis of the frames (frame_axis)",
            )
        )
