"""MetaImage files (`.mha`), the format of Grand Challenge: volumes and fields are read, fields are written.

A displacement field is one scalar image of four axes, (I, J, K, 3), the last one the components x, y, z: what
Grand Challenge's displacement-field sockets take.

They are read here and not by SimpleITK, which gives zeros, or what was in memory, for compressed voxels that
are damaged or whose length the header misstates, and follows a header to any other file.
"""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault
from regtask.fields import vectors_to_write
from regtask.grid import Grid
from regtask.images import ImageHeader, Volume, as_labels
from regtask.metaimage_header import RAS_FROM_LPS, MetaHeader, read_meta_header
from regtask.untrusted.opening import open_regular, reading_fault
from regtask.values import as_float32, fill_invalid, nonfinite_fault


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
        header = read_meta_header(path, stream)
        return ImageHeader(path, header.grid(components=False), header.dtype)


def read_field_mha(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read a displacement field.

    Returns:
        (I, J, K, 3) float32, LPS mm; and the grid it lies on.

    Raises:
        DataError: no file, damaged, not four axes of which the last has size 3, or a value is not finite.
    """
    array, grid = _read(path, components=True)
    vectors = as_float32(array)
    if fault := nonfinite_fault(vectors, str(path)):
        raise DataError(fault)
    return vectors, grid


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
    lps = RAS_FROM_LPS @ grid.affine
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
        header = read_meta_header(path, stream)
        grid = header.grid(components=components)
        left = path.stat().st_size - stream.tell()
        header.check_size(left)
        data = _inflated(header, stream.read(left)) if header.compressed else stream.read(header.data_bytes)
    if len(data) != header.data_bytes:
        raise DataError(header.too_short(len(data)))
    return np.frombuffer(data, header.dtype).reshape(header.shape, order="F"), grid


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open_regular(path) as stream:
            yield stream
    except OSError as error:
        raise DataError(reading_fault(path, error)) from error


def _inflated(header: MetaHeader, packed: bytes) -> bytes:
    """Decompress as many bytes as the header announces, however many follow."""
    try:
        return zlib.decompressobj().decompress(packed, header.data_bytes)
    except zlib.error as error:
        raise DataError(Fault("damaged compressed data", str(header.path), got=str(error))) from error


def _joined(numbers: Iterable[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
