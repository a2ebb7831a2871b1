"""Reading NIfTI files whole, with every way in which they are damaged told in plain words.

The bytes are read here and not by nibabel's lazy arrays, which report damage only when the array is used, and
as whatever exception the decompressor happens to raise.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault
from regtask.nifti_header import HEADER_BYTES, NiftiHeader, extensions_begin, parse_header
from regtask.untrusted.opening import open_regular, reading_fault

_GZIP_MAGIC = b"\x1f\x8b"
_AGAIN = "copy or download it again"
# NIfTI code of an extension that holds text for people.
COMMENT = 6
# No note of ours has a thousandth of it; a stranger's header may promise any number.
_MOST_EXTENSION_BYTES = 1 << 20


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read and check the header; the array is neither read nor allocated.

    Raises:
        DataError: no file, damaged, not a single-file NIfTI, or a header that cannot be true.
    """
    with _opened(path) as stream:
        return parse_header(path, stream.read(HEADER_BYTES))


def read_nifti(path: Path) -> tuple[NDArray[np.number], NiftiHeader]:
    """Read the array with its scale factors applied.

    Returns:
        The array in index order as stored, in the stored type without scaling and float64 where
        there is; and the header.

    Raises:
        DataError: as for `read_nifti_header`, or the file ends before the array does.
    """
    with _opened(path) as stream:
        header = parse_header(path, stream.read(HEADER_BYTES))
        size = math.prod(header.shape) * header.dtype.itemsize
        stream.seek(header.data_offset)
        data = stream.read(size)
        stream.read(1)  # at the end of a gzip stream this verifies its checksum
    if len(data) != size:
        got = f"{len(data)} bytes"
        raise DataError(Fault("file ends too early", str(path), f"{size} bytes of voxels", got, _AGAIN))
    array = np.frombuffer(data, header.dtype).reshape(header.shape, order="F")
    if (header.slope, header.intercept) == (1.0, 0.0):
        return array, header
    with np.errstate(over="ignore", invalid="ignore"):  # reported as values that are not finite
        return array * header.slope + header.intercept, header


def read_nifti_comments(path: Path) -> tuple[NiftiHeader, list[bytes]]:
    """Read the header and the comments behind it (extensions of code 6); the array is not read.

    Raises:
        DataError: as for `read_nifti_header`.
    """
    with _opened(path) as stream:
        block = stream.read(HEADER_BYTES)
        header = parse_header(path, block)
        begin, order = extensions_begin(path, block)
        stream.seek(begin)
        held = stream.read(min(max(header.data_offset - begin, 0), _MOST_EXTENSION_BYTES))
    return header, [text for code, text in _extensions(held, order) if code == COMMENT]


def _extensions(held: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Take code and content of each extension out of the bytes between header and voxels.

    The first four bytes say whether there are any; each then begins with its size, 8 bytes of size and code
    included. A size that cannot be true ends the list: what follows is padding or damage, and no voxel of it.
    """
    at = 4
    if held[:1] in (b"", b"\0"):
        return
    while at + 8 <= len(held):
        size, code = struct.unpack_from(f"{order}2i", held, at)
        if size < 8 or at + size > len(held):
            return
        yield code, held[at + 8 : at + size].rstrip(b"\0")
        at += size


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open for reading, decompressed; every failure to read inside the block becomes a DataError."""
    try:
        with open_regular(path) as file:
            _check_container(path, file.read(len(_GZIP_MAGIC)))
            file.seek(0)
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as stream:
                    yield cast("IO[bytes]", stream)
            else:
                yield file
    except EOFError as error:
        got = "its first part"
        raise DataError(
            Fault("file ends too early", str(path), "a complete gzip stream", got, _AGAIN)
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(Fault("damaged gzip file", str(path), got=str(error), remedy=_AGAIN)) from error
    except OSError as error:
        raise DataError(reading_fault(path, error)) from error


def _check_container(path: Path, first: bytes) -> None:
    if not path.name.endswith((".nii", ".nii.gz")):
        got = path.suffix or "no suffix"
        raise DataError(Fault("unknown image format", str(path), ".nii or .nii.gz", got))
    if not first:
        raise DataError(Fault("empty file", str(path), remedy=_AGAIN))
    packed = first == _GZIP_MAGIC
    if packed != path.name.endswith(".gz"):
        got, suffix = ("gzip data", ".nii.gz") if packed else ("data that are not gzip", ".nii")
        raise DataError(
            Fault("suffix does not fit the content", str(path), got=got, remedy=f"rename it to {suffix}")
        )
