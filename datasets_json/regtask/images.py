"""Volumes, label maps and masks on their grids, from and to NIfTI.

Convention: arrays in NIfTI index order (I, J, K), as stored; nothing is reoriented or resampled.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Image
from numpy.typing import ArrayLike, DTypeLike, NDArray

from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError, SpaceError
from regtask.grid import Grid
from regtask.nifti import read_nifti, read_nifti_header
from regtask.nifti_header import NiftiHeader
from regtask.values import as_float32, fill_invalid, first_bad, nonfinite_fault

# nibabel, and this part of isal, carry no types.
_new_image: Callable[..., Any] = Nifti1Image
_new_gzip: Callable[..., Any] = igzip.IGzipFile
# NIfTI code "coordinates of the scanner".
_SCANNER = 1


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Where an image lies and how its voxels are stored, without the voxels.

    `scaled` says that the intensities are not the stored values but follow from them by slope and intercept.
    """

    path: Path
    grid: Grid
    dtype: np.dtype[np.number]
    scaled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Intensities of one image.

    Attributes:
        data: (I, J, K) float32, finite.
        grid: where it lies.
        invalid: (I, J, K), True where the file has no value, NaN or infinite; `data` has the lowest value of
            the image there. None where every voxel has a value.
    """

    data: NDArray[np.float32]
    grid: Grid
    invalid: NDArray[np.bool_] | None = None

    def invalid_text(self) -> str:
        """Return how many voxels have no value, in words; empty where all have one."""
        if self.invalid is None:
            return ""
        count = np.count_nonzero(self.invalid)
        return f"{count} of {self.invalid.size} voxels have no value (NaN or infinite) and do not count"


def read_header(path: Path) -> ImageHeader:
    """Read grid and voxel type of an image.

    Raises:
        DataError: no file, damaged, an impossible header, or not one 3D volume.
    """
    header = read_nifti_header(path)
    scaled = (header.slope, header.intercept) != (1.0, 0.0)
    return ImageHeader(path, _grid(header), header.dtype, scaled)


def read_volume(path: Path) -> Volume:
    """Read an image.

    Returns:
        (I, J, K) float32 with the header's scale applied; a 2D image is (I, J, 1). Voxels without a value
        (NaN or infinite) are marked in `invalid`.

    Raises:
        DataError: as for `read_header`, the file is truncated, or hardly a voxel has a value.
    """
    array, grid = _read(path)
    data, invalid = fill_invalid(as_float32(array), str(path))
    return Volume(data, grid, invalid)


def read_labels(path: Path) -> tuple[NDArray[np.int16] | NDArray[np.int32], Grid]:
    """Read a label map.

    Returns:
        (I, J, K) int16, or int32 where a label needs it; and the grid.

    Raises:
        DataError: as for `read_header`, the file is truncated, or a value is not a label.
    """
    array, grid = _read(path)
    return as_labels(array, path), grid


def as_labels(array: NDArray[np.number], path: Path) -> NDArray[np.int16] | NDArray[np.int32]:
    """Return voxels as labels, int16, or int32 where a label needs it.

    Args:
        array: (I, J, K).
        path: named in the messages.

    Raises:
        DataError: a value is no label.
    """
    limits = np.iinfo(np.int32)
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array) | (np.rint(array) != array)
        if fault := first_bad(bad, "values that are not labels", str(path), "whole numbers"):
            raise DataError(replace(fault, remedy="resample label maps with the nearest neighbour only"))
    low, high = array.min(), array.max()
    if low < limits.min or high > limits.max:
        raise DataError(Fault("label out of range", str(path), "32-bit integers", f"{low} to {high}"))
    small = np.iinfo(np.int16)
    if small.min <= low and high <= small.max:
        return array.astype(np.int16, order="C")
    return array.astype(np.int32, order="C")


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask.

    Returns:
        (I, J, K) bool.

    Raises:
        DataError: as for `read_labels`, or a value is neither 0 nor 1.
    """
    labels, _ = read_labels(path)
    if fault := not_binary_fault(labels, path):
        raise DataError(fault)
    return labels.astype(np.bool_)


def not_binary_fault(labels: NDArray[np.integer], path: Path) -> Fault | None:
    """Return a fault if a mask has values other than 0 and 1.

    The official evaluator multiplies with `1 - mask`: a mask of 0 and 255 or 0 and 2 hides every voxel.
    """
    fault = first_bad((labels != 0) & (labels != 1), "mask is not binary", str(path), "0 and 1 only")
    return fault and replace(fault, remedy="write the foreground as 1")


def write_volume(
    path: Path,
    data: ArrayLike,
    grid: Grid,
    dtype: DTypeLike = np.float32,
    *,
    invalid: NDArray[np.bool_] | None = None,
) -> None:
    """Write an image, a label map or a mask; the file is there whole or not at all.

    Args:
        path: `.nii` or `.nii.gz`, in an existing folder.
        data: (I, J, K), unscaled.
        grid: grid of `data`.
        dtype: type on disk; integers take whole numbers within their range only.
        invalid: (I, J, K), voxels without a value, written as NaN; for floats only.

    Raises:
        SpaceError: the array does not have the grid's shape.
        DataError: a value is not finite or does not fit `dtype`.
        OutputError: disk full, read-only, no permission, or the folder does not exist.
    """
    array = np.asarray(data)
    if array.shape != grid.shape:
        raise SpaceError(Fault("array and grid differ", str(path), f"shape {grid.shape}", str(array.shape)))
    converted = _converted(array, np.dtype(dtype), path)
    if invalid is not None:
        converted = np.where(invalid, np.full_like(converted, np.nan), converted)
    write_nifti(path, converted, grid)


def write_nifti(
    path: Path,
    array: NDArray[np.number],
    grid: Grid,
    mark: Callable[[Any], None] = lambda header: None,
) -> None:
    """Write an array of any rank whose first three axes are the grid's, in the type it has.

    Args:
        path: `.nii` or `.nii.gz`, in an existing folder.
        array: (I, J, K, ...).
        grid: grid of the first three axes.
        mark: may say more in the header (of nibabel) than where the voxels lie.

    Raises:
        OutputError: not a `.nii` or `.nii.gz` path, disk full, read-only, no permission, or the folder does
            not exist.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise OutputError(
            Fault("unknown image format", str(path), ".nii or .nii.gz", path.suffix or "no suffix")
        )
    image = _new_image(array, grid.affine, dtype=array.dtype)
    # Both forms: ITK reads the qform where there is one, nibabel the sform.
    image.set_sform(grid.affine, code=_SCANNER)
    image.set_qform(grid.affine, code=_SCANNER)
    image.header.set_xyzt_units("mm")
    mark(image.header)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if not path.name.endswith(".gz"):
            image.to_stream(file)
            return
        # Voxels are near noise for deflate: a higher level gains nothing. No name, no time: here the same
        # voxels make the same file.
        with _new_gzip("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
            image.to_stream(stream)


def _read(path: Path) -> tuple[NDArray[np.number], Grid]:
    array, header = read_nifti(path)
    grid = _grid(header)
    return array.reshape(grid.shape, order="F"), grid


def _grid(header: NiftiHeader) -> Grid:
    if any(size > 1 for size in header.shape[3:]):
        raise DataError(
            Fault(
                "not a single volume",
                str(header.path),
                "three axes, or further axes of size 1",
                f"shape {header.shape}",
                "write one file per time point or channel",
            )
        )
    try:
        return Grid((*header.shape, 1, 1)[:3], header.affine)
    except SpaceError as error:
        raise DataError(*(replace(fault, where=str(header.path)) for fault in error.faults)) from error


def _converted(array: NDArray[np.number], dtype: np.dtype[np.generic], path: Path) -> NDArray[np.number]:
    with np.errstate(over="ignore", invalid="ignore"):
        converted: NDArray[np.number] = array.astype(dtype)
    if dtype.kind == "f":
        fault = nonfinite_fault(converted, str(path))
    else:
        fault = first_bad(converted != array, "values that do not fit the type", str(path), str(dtype))
    if fault:
        raise DataError(fault)
    return converted
