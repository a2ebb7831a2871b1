"""Displacement fields as Learn2Reg files.

Convention: pull, fixed -> moving: content for fixed voxel x is read at x + vectors[x], identity not included.
Vectors are in voxels of the fixed grid, component c along array axis c: fixed voxel x belongs to voxel
x + vectors[x] of the moving image as it was registered. Where that image lay is in a note beside the header
(`regtask.field_note`): without it nobody can tell where in the scanner a displaced voxel is.

The header's intent is "general matrix, 3 x 1". No other fits vectors along array axes in voxels: without
one, or with that of displacements, ITK and what is built on it (SimpleITK, ANTs) take the numbers for
millimetres. This one they refuse to read.
"""

import math
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from nibabel.nifti1 import Nifti1Extension
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from regtask.errors import DataError, Fault, SpaceError
from regtask.field_note import note_of_moving, read_note
from regtask.grid import Grid
from regtask.images import write_nifti
from regtask.nifti import COMMENT, read_nifti, read_nifti_comments, read_nifti_header
from regtask.nifti_header import MAX_DEFLATE_RATIO, MAX_VALUES
from regtask.untrusted.memory import array_fault
from regtask.untrusted.opening import open_regular, reading_fault
from regtask.values import as_float32, nonfinite_fault

Layout = Literal["channel_last", "channel_first"]
# What numpy makes of a header that is none; it reads it as Python's literals.
_NO_HEADER = (ValueError, KeyError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError)
_NPY_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}

# NIfTI code "an M x N matrix at each voxel", with M and N; and the name, at most 15 letters.
_GENERAL_MATRIX, _ROWS_COLUMNS, _INTENT_NAME = 1004, (3, 1), "voxels, pull"
# nibabel carries no types here.
_new_extension: Any = Nifti1Extension


class FieldGrids(NamedTuple):
    """Where a field lies, and where the moving image lay when it was registered, if the file says so."""

    fixed: Grid
    moving: Grid | None


def write_field(
    path: Path,
    vectors: NDArray[np.floating],
    grid: Grid,
    moving: Grid | None = None,
    *,
    layout: Layout = "channel_last",
) -> None:
    """Write a displacement field as 4-D float32 NIfTI with the fixed image's affine.

    Args:
        path: `.nii.gz` (what the official evaluator reads) or `.nii`, in an existing folder.
        vectors: (I, J, K, 3), voxels of the fixed grid.
        grid: grid of the fixed image.
        moving: grid of the moving image as it was registered, noted in the file; None where it is not known.
        layout: "channel_first" writes (3, I, J, K), as Learn2Reg 2026 wants it; its axes are not those that
            a header describes, so it carries neither intent nor note.

    Raises:
        SpaceError: the vectors do not have the grid's shape.
        DataError: a component is not finite.
        OutputError: disk full, read-only, no permission, or the folder does not exist.
    """
    array = vectors_to_write(path, vectors, grid)
    if layout == "channel_first":
        write_nifti(path, np.moveaxis(array, -1, 0), grid)
        return

    def mark(header: Any) -> None:
        header.set_intent(_GENERAL_MATRIX, _ROWS_COLUMNS, name=_INTENT_NAME)
        if moving is not None:
            header.extensions.append(_new_extension(COMMENT, note_of_moving(moving).encode("ascii")))

    write_nifti(path, array, grid, mark)


def read_field_grids(path: Path) -> FieldGrids:
    """Read where a NIfTI field lies; its vectors are not read.

    Raises:
        DataError: no file, damaged, not a field, or a note that cannot be true.
    """
    header, comments = read_nifti_comments(path)
    _refuse_shape(path, header.shape, None, "channel_last")
    try:
        return FieldGrids(Grid(header.shape[:3], header.affine), read_note(comments))
    except SpaceError as error:
        raise DataError(*(replace(fault, where=str(path)) for fault in error.faults)) from error


def vectors_to_write(path: Path, vectors: NDArray[np.floating], grid: Grid) -> NDArray[np.float32]:
    """Return vectors as float32 if they may go into a file.

    Args:
        path: named in the messages.
        vectors: (I, J, K, 3).
        grid: grid of the fixed image.

    Raises:
        SpaceError: the vectors do not have the grid's shape.
        DataError: a component is not finite.
    """
    if vectors.shape != (*grid.shape, 3):
        expected = f"shape {(*grid.shape, 3)}"
        raise SpaceError(Fault("field and grid differ", str(path), expected, str(vectors.shape)))
    array = as_float32(vectors)
    if fault := nonfinite_fault(array, str(path)):
        raise DataError(fault)
    return array


def read_field(
    path: Path, expected_shape: tuple[int, ...] | None = None, layout: Layout = "channel_last"
) -> NDArray[np.float32]:
    """Read a displacement field.

    The shape is checked before the array is read, and nothing in the file is ever executed.

    Args:
        path: `.nii`, `.nii.gz`, or `.npz` with exactly one array of any name.
        expected_shape: (I, J, K) of the fixed image; None accepts any.
        layout: "channel_last" for files of (I, J, K, 3), "channel_first" for (3, I, J, K).

    Returns:
        (I, J, K, 3) float32, voxels of the fixed grid.

    Raises:
        DataError: no file, damaged, wrong shape or type, or a component is not finite.
    """
    read = _read_npz if path.name.endswith(".npz") else _read_nifti
    array = as_float32(read(path, expected_shape, layout))
    if fault := nonfinite_fault(array, str(path)):
        raise DataError(replace(fault, remedy="one such component spoils every metric of the case"))
    return array if layout == "channel_last" else np.ascontiguousarray(np.moveaxis(array, 0, -1))


def _read_nifti(path: Path, expected: tuple[int, ...] | None, layout: Layout) -> NDArray[np.number]:
    _refuse_shape(path, read_nifti_header(path).shape, expected, layout)
    return read_nifti(path)[0]


def _read_npz(path: Path, expected: tuple[int, ...] | None, layout: Layout) -> NDArray[np.number]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) != 1:
                names = ", ".join(member.filename for member in members[:5]) or "none"
                raise DataError(
                    Fault("not a field", str(path), "exactly one array", f"{len(members)}: {names}")
                )
            if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile unpacks the others in one go, without a bound.
                raise NotImplementedError("neither stored nor deflated, as numpy writes")
            with archive.open(members[0]) as stream:
                return _read_npy(path, stream, members[0], expected, layout)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # The last two: a compression method or an encryption that no npz writer uses.
        raise DataError(Fault("damaged npz file", str(path), got=str(error))) from error
    except OSError as error:
        raise DataError(reading_fault(path, error)) from error


def _read_npy(
    path: Path, stream: IO[bytes], member: zipfile.ZipInfo, expected: tuple[int, ...] | None, layout: Layout
) -> NDArray[np.number]:
    try:
        shape, fortran_order, dtype = _NPY_HEADERS[npy_format.read_magic(stream)](stream)
    except _NO_HEADER as error:
        raise DataError(Fault("not a numpy array", str(path), "npy format 1.0 or 2.0", str(error))) from error
    # An array of Python objects is a program that runs on loading: only numbers pass.
    if dtype.kind not in "iuf":
        raise DataError(Fault("not a field", str(path), "an array of real numbers", f"dtype {dtype}"))
    _refuse_shape(path, shape, expected, layout)
    if fault := array_fault(path, shape, dtype):
        raise DataError(fault)
    size = math.prod(shape) * dtype.itemsize
    # The sizes in a zip directory are claims too; only the size on disk is certain.
    on_disk = path.stat().st_size
    if size > min(member.file_size, on_disk * MAX_DEFLATE_RATIO):
        got = f"{on_disk} bytes on disk, {member.file_size} claimed when unpacked"
        raise DataError(Fault("file ends too early", str(path), f"{size} bytes of vectors", got))
    data = stream.read(size)
    if len(data) != size:
        raise DataError(Fault("file ends too early", str(path), f"{size} bytes", f"{len(data)} bytes"))
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")


def _refuse_shape(
    path: Path, shape: tuple[int, ...], expected: tuple[int, ...] | None, layout: Layout
) -> None:
    """Raise a DataError that names the usual mistake behind a wrong shape."""
    form = "(I, J, K, 3)" if layout == "channel_last" else "(3, I, J, K)"
    spatial = shape[:-1] if layout == "channel_last" else shape[1:]
    channels = (shape[-1], shape[0]) if shape else (0, 0)
    here, elsewhere = channels if layout == "channel_last" else channels[::-1]
    what, remedy = "", ""
    if len(shape) != 4:
        what = "field of wrong rank"
        if len(shape) == 5 and shape[3] == 1:
            remedy = "ITK's layout (I, J, K, 1, 3): remove the axis of size 1, and convert from mm to voxels"
    elif here != 3 and elsewhere == 3:
        what = f"field is {'channel-first' if layout == 'channel_last' else 'channel-last'}"
        remedy = "move the axis of the components to the other end"
    elif here != 3:
        what = "field without three components"
    elif min(shape) < 1:
        what = "field with an impossible size"
    elif math.prod(shape) > MAX_VALUES:
        what = "field too large"
    elif expected is not None and spatial != expected:
        what = "field of wrong shape"
        form = f"{expected} and the components"
        if all(size in (whole // 2, -(-whole // 2)) for size, whole in zip(spatial, expected, strict=True)):
            what = "field at half resolution"
            remedy = "resample to the fixed image's grid; values are voxels of the full grid"
    if what:
        raise DataError(Fault(what, str(path), form, f"shape {shape}", remedy))
