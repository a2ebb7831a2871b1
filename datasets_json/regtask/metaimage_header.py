"""MetaImage headers from strangers: every key is checked before a voxel is read.

Keys and their meaning: MetaIO documentation (Kitware). Row a of `TransformMatrix` is the direction of axis a;
positions are LPS millimetres; the first axis varies fastest. Only data in the same file are taken, so that a
header opens no other one, and no more of them than that file and this machine can hold.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from regtask.errors import DataError, Fault, SpaceError
from regtask.grid import Grid
from regtask.nifti_header import MAX_DEFLATE_RATIO, MAX_VALUES
from regtask.untrusted.memory import array_fault

RAS_FROM_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))

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


@dataclass(frozen=True, slots=True)
class MetaHeader:
    """What a checked header says.

    Attributes:
        path: the file.
        shape: sizes of three or four axes, as stored.
        dtype: type and byte order of the voxels.
        compressed: whether the voxels are, by deflate.
        affine: (4, 4), index -> RAS mm, of the first three axes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.number]
    compressed: bool
    affine: NDArray[np.float64]

    @property
    def data_bytes(self) -> int:
        """What the voxels take, decompressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    def grid(self, *, components: bool) -> Grid:
        """Return where the voxels lie.

        Args:
            components: whether a displacement field is asked for, whose last axis are the components x, y, z;
                else an image of three axes.

        Raises:
            DataError: it is the other of the two, or its grid cannot be true.
        """
        rank = 4 if components else 3
        if len(self.shape) != rank or (components and self.shape[3] != 3):
            form = "four axes, the last of size 3" if components else "three axes"
            raise DataError(Fault("not the image asked for", str(self.path), form, f"shape {self.shape}"))
        try:
            return Grid(self.shape[:3], self.affine)
        except SpaceError as error:
            faults = (replace(fault, where=str(self.path)) for fault in error.faults)
            raise DataError(*faults) from error

    def check_size(self, left: int) -> None:
        """Refuse voxels that the file or the memory cannot hold.

        Args:
            left: bytes of the file after the header.

        Raises:
            DataError: the header announces more than there can be.
        """
        if fault := array_fault(self.path, self.shape, self.dtype):
            raise DataError(fault)
        if self.data_bytes > left * (MAX_DEFLATE_RATIO if self.compressed else 1):
            raise DataError(self.too_short(left))

    def too_short(self, found: int) -> Fault:
        """Return the fault of a file that holds so many bytes of voxels."""
        expected = f"{self.data_bytes} bytes of voxels"
        return Fault("file ends too early", str(self.path), expected, f"{found} bytes")


def read_meta_header(path: Path, stream: IO[bytes]) -> MetaHeader:
    """Read and check a header.

    Args:
        path: the file, for messages.
        stream: the file at its begin; afterwards at its first voxel.

    Raises:
        DataError: no header, or one of another kind of file than is read here.
    """
    values = _key_values(path, stream)
    try:
        header = _interpreted(path, values)
    except (KeyError, ValueError) as error:
        raise DataError(Fault("MetaImage header not usable", str(path), got=str(error))) from error
    expected = {
        "one size of 1 or more per axis": len(header.shape) == int(values["NDims"]) and min(header.shape) > 0,
        "one channel": values.get("ElementNumberOfChannels", "1") == "1",
        "binary data in the same file": _true(values, "BinaryData")
        and values["ElementDataFile"].upper() == "LOCAL",
        "a header without extra bytes": values.get("HeaderSize", "0") == "0",
        f"at most {MAX_VALUES} values": math.prod(header.shape) <= MAX_VALUES,
    }
    faults = [Fault("MetaImage not usable", str(path), want) for want, holds in expected.items() if not holds]
    if faults:
        raise DataError(*faults)
    return header


def _key_values(path: Path, stream: IO[bytes]) -> dict[str, str]:
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


def _interpreted(path: Path, values: Mapping[str, str]) -> MetaHeader:
    rank = int(values["NDims"])
    if rank not in (3, 4):
        raise ValueError(f"NDims: 3 or 4 expected, got {rank}")
    shape = tuple(int(size) for size in values["DimSize"].split())
    spacing = _numbers(values, np.ones(rank), "ElementSpacing", "ElementSize")
    offset = _numbers(values, np.zeros(rank), "Origin", "Offset", "Position")
    directions = _numbers(values, np.eye(rank), "TransformMatrix", "Rotation", "Orientation")
    dtype = np.dtype(_TYPES[values["ElementType"]])
    if _true(values, "BinaryDataByteOrderMSB", "ElementByteOrderMSB"):
        dtype = dtype.newbyteorder(">")
    affine = np.eye(4)
    with np.errstate(all="ignore"):  # Grid refuses what is not finite
        affine[:3, :3] = directions.T[:3, :3] * spacing[:3]
    affine[:3, 3] = offset[:3]
    return MetaHeader(path, shape, dtype, _true(values, "CompressedData"), RAS_FROM_LPS @ affine)


def _numbers(values: Mapping[str, str], default: NDArray[np.float64], *names: str) -> NDArray[np.float64]:
    """Return the numbers of the first of several keys that is there, in the shape of the default."""
    name = next((name for name in names if name in values), None)
    if name is None:
        return default
    numbers = np.array([float(word) for word in values[name].split()])
    if numbers.size != default.size:
        raise ValueError(f"{name}: {default.size} numbers expected, got {values[name]}")
    return numbers.reshape(default.shape)


def _true(values: Mapping[str, str], *names: str) -> bool:
    """Whether one of several keys is set; as to MetaIO the first letter decides."""
    return any(values.get(name, "")[:1] in ("T", "t", "1") for name in names)
