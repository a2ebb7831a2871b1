"""MetaImage files (`.mha`), the format of Grand Challenge: volumes and fields are read, fields are written.

Header keys and their meaning: MetaIO documentation (Kitware). Row a of `TransformMatrix` is the direction of
axis a; positions are LPS millimetres; the first axis varies fastest. A displacement field is one scalar image
of four axes, (I, J, K, 3), the last one the components x, y, z: what Grand Challenge's displacement-field
sockets take. Sizes are compared with the file before anything is allocated.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, SpaceError
from regtask.fields import vectors_to_write
from regtask.grid import Grid
from regtask.images import ImageHeader, Volume, as_labels
from regtask.nifti_header import MAX_DEFLATE_RATIO, MAX_VALUES
from regtask.untrusted.memory import array_fault
from regtask.untrusted.opening import open_regular, reading_fault
from regtask.values import as_float32, fill_invalid, nonfinite_fault

_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "MET_CHAR": "i1",
        "MET_UCHAR": "u1",
        "MET_SHORT": "i2",
        "MET_USHORT": "u2",
        "MET_INT": "i4",
        "MET_UINT": "u4",
        "MET_LONG_LONG": "i8",
        "MET_ULONG_LONG": "u8",
        "MET_FLOAT": "f4",
        "MET_DOUBLE": "f8",
    }
)
_LONGEST_LINE, _MOST_LINES = 4096, 100
_RAS_FROM_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header says, checked; `affine` is that of the first three axes, index to RAS mm."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.number]
    compressed: bool
    affine: NDArray[np.float64]


def read_volume_mha(path: Path) -> Volume:
    """Read an image of three axes.

    Returns:
        (I, J, K) float32; voxels without a value (NaN or infinite) are marked in `invalid`.

    Raises:
        DataError: no file, damaged, not one volume of numbers, or hardly a voxel has a value.
    """
    array, grid = _read(path, components=False)
    data, invalid = fill_invalid(as_float32(array), str(path))
    return Volume(data, grid, invalid)


def read_labels_mha(path: Path) -> tuple[NDArray[np.int16] | NDArray[np.int32], Grid]:
    """Read a label map; see `regtask.images.read_labels`.

    Raises:
        DataError: as for `read_volume_mha`, or a value is no label.
    """
    array, grid = _read(path, components=False)
    return as_labels(array, path), grid


def read_header_mha(path: Path) -> ImageHeader:
    """Read grid and voxel type of an image of three axes.

    Raises:
        DataError: no file, or not one volume of numbers.
    """
    with _opened(path) as stream:
        header = _parse(path, _header_lines(path, stream))
        return ImageHeader(path, _grid(path, header, components=False), header.dtype)


def read_field_mha(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read a displacement field.

    Returns:
        (I, J, K, 3) float32, LPS mm; and the grid it lies on.

    Raises:
        DataError: no file, damaged, not four axes of which the last has size 3, or a value is not finite.
    """
    array, grid = _read(path, components=True)
    return _finite(path, array), grid


def write_field_mha(path: Path, vectors_mm: NDArray[np.floating], grid: Grid) -> None:
    """Write a displacement field as an uncompressed scalar image of four axes.

    Args:
        path: `.mha`, in an existing folder.
        vectors_mm: (I, J, K, 3), LPS mm.
        grid: grid of the fixed image.

    Raises:
        SpaceError: the vectors do not have the grid's shape.
        DataError: a component is not finite.
        OutputError: disk full, read-only, no permission, or the folder does not exist.
    """
    array = vectors_to_write(path, vectors_mm, grid)
    lps = _RAS_FROM_LPS @ grid.affine
    directions = np.eye(4)
    directions[:3, :3] = (lps[:3, :3] / grid.spacing_mm).T
    header = {
        "ObjectType": "Image",
        "NDims": "4",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": _joined(directions.ravel()),
        "Offset": _joined((*lps[:3, 3], 0.0)),
        "ElementSpacing": _joined((*grid.spacing_mm, 1.0)),
        "DimSize": " ".join(str(size) for size in array.shape),
        "ElementType": "MET_FLOAT",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(text.encode("ascii"))
        stream.write(array.astype("<f4", copy=False).tobytes(order="F"))


def _read(path: Path, *, components: bool) -> tuple[NDArray[np.number], Grid]:
    with _opened(path) as stream:
        header = _parse(path, _header_lines(path, stream))
        grid = _grid(path, header, components=components)
        if fault := array_fault(path, header.shape, header.dtype):
            raise DataError(fault)
        data = _data(path, stream, header)
    return np.frombuffer(data, header.dtype).reshape(header.shape, order="F"), grid


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open_regular(path) as stream:
            yield stream
    except OSError as error:
        raise DataError(reading_fault(path, error)) from error


def _grid(path: Path, header: _Header, *, components: bool) -> Grid:
    rank = 4 if components else 3
    if len(header.shape) != rank or (components and header.shape[3] != 3):
        form = "four axes, the last of size 3" if components else "three axes"
        raise DataError(Fault("not the image asked for", str(path), form, f"shape {header.shape}"))
    try:
        return Grid(header.shape[:3], header.affine)
    except SpaceError as error:
        raise DataError(*(replace(fault, where=str(path)) for fault in error.faults)) from error


def _finite(path: Path, array: NDArray[np.number]) -> NDArray[np.float32]:
    converted = as_float32(array)
    if fault := nonfinite_fault(converted, str(path)):
        raise DataError(fault)
    return converted


def _header_lines(path: Path, stream: IO[bytes]) -> dict[str, str]:
    """Read `Key = Value` lines up to and including the one that says where the voxels are."""
    values: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        key, separator, value = stream.readline(_LONGEST_LINE).decode("latin-1").partition("=")
        if not separator:
            break
        values[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return values
    raise DataError(Fault("not a MetaImage", str(path), "header lines `Key = Value` up to ElementDataFile"))


def _parse(path: Path, values: Mapping[str, str]) -> _Header:
    try:
        rank = int(values["NDims"])
        if rank not in (3, 4):
            raise ValueError(f"NDims: 3 or 4 expected, got {rank}")
        shape = tuple(int(size) for size in values["DimSize"].split())
        spacing = _numbers(values, rank, (1.0,) * rank, "ElementSpacing")
        offset = _numbers(values, rank, (0.0,) * rank, "Offset", "Position", "Origin")
        identity = np.eye(rank).ravel()
        directions = _numbers(values, rank * rank, identity, "TransformMatrix", "Rotation", "Orientation")
        dtype = np.dtype(_TYPES[values["ElementType"]])
    except (KeyError, ValueError) as error:
        raise DataError(Fault("MetaImage header not usable", str(path), got=str(error))) from error
    if _true(values, "BinaryDataByteOrderMSB", "ElementByteOrderMSB"):
        dtype = dtype.newbyteorder(">")
    expected = {
        "one size of 1 or more per axis": len(shape) == rank and min(shape) > 0,
        "one channel": values.get("ElementNumberOfChannels", "1") == "1",
        "binary data in the same file": _true(values, "BinaryData") and values["ElementDataFile"] == "LOCAL",
        "a header without extra bytes": values.get("HeaderSize", "0") == "0",
        f"at most {MAX_VALUES} values": math.prod(shape) <= MAX_VALUES,
    }
    faults = [Fault("MetaImage not usable", str(path), want) for want, holds in expected.items() if not holds]
    if faults:
        raise DataError(*faults)
    affine = np.eye(4)
    with np.errstate(all="ignore"):  # Grid refuses what is not finite
        affine[:3, :3] = np.reshape(directions, (rank, rank)).T[:3, :3] * spacing[:3]
    affine[:3, 3] = offset[:3]
    return _Header(shape, dtype, _true(values, "CompressedData"), _RAS_FROM_LPS @ affine)


def _data(path: Path, stream: IO[bytes], header: _Header) -> bytes:
    size = math.prod(header.shape) * header.dtype.itemsize
    left = path.stat().st_size - stream.tell()
    if size > left * (MAX_DEFLATE_RATIO if header.compressed else 1):
        raise DataError(Fault("file ends too early", str(path), f"{size} bytes of voxels", f"{left} bytes"))
    data = stream.read(left if header.compressed else size)
    if header.compressed:
        try:
            data = zlib.decompressobj().decompress(data, size)
        except zlib.error as error:
            raise DataError(Fault("damaged compressed data", str(path), got=str(error))) from error
    if len(data) != size:
        raise DataError(
            Fault("file ends too early", str(path), f"{size} bytes of voxels", f"{len(data)} bytes")
        )
    return data


def _numbers(
    values: Mapping[str, str], count: int, default: tuple[float, ...] | NDArray[np.float64], *names: str
) -> NDArray[np.float64]:
    """Return the numbers of the first of several keys that is there."""
    text = next((values[name] for name in names if name in values), None)
    numbers = np.array(default if text is None else [float(word) for word in text.split()], dtype=np.float64)
    if numbers.shape != (count,):
        raise ValueError(f"{names[0]}: {count} numbers expected, got {text}")
    return numbers


def _true(values: Mapping[str, str], *names: str) -> bool:
    return any(values.get(name, "").lower() in ("true", "1") for name in names)


def _joined(numbers: NDArray[np.float64] | tuple[float, ...]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
