"""NIfTI headers from strangers: every number is checked before it is believed.

A header of 348 bytes can ask for any amount of memory, so the array it announces is bounded by the size of
the file on disk and by the memory there is. nibabel interprets the fields; whether they can be true is
decided here.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from regtask.errors import DataError, Fault
from regtask.grid import MAX_SPACING_MM, MIN_SPACING_MM
from regtask.untrusted.memory import array_fault

log = logging.getLogger(__name__)

# 4 GiB in float32; a whole-body scan at 0.5 mm is a quarter of it.
MAX_VALUES = 1 << 30
# Deflate cannot shrink anything further than this.
MAX_DEFLATE_RATIO = 1032
# Of vox_offset: what header extensions take; the metadata of a DICOM series are a megabyte.
MAX_OFFSET = 4 << 20
# Enough bytes for the header of either version.
HEADER_BYTES = 540

# nibabel's headers carry no types.
_RawHeader = Any
_VERSIONS: tuple[tuple[_RawHeader, bytes, int], ...] = (
    (Nifti1Header, b"n+1\0", 344),
    (Nifti2Header, b"n+2\0\r\n\x1a\n", 4),
)


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a checked header says.

    Attributes:
        path: the file.
        shape: as stored, any number of axes.
        dtype: type and byte order of the voxels.
        stated_spacing_mm: voxel size as it stands beside the affine, up to three axes.
        affine: (4, 4), index -> RAS mm.
        slope: factor from stored values to intensities.
        intercept: addend from stored values to intensities.
        data_offset: byte at which the voxels begin.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.number]
    stated_spacing_mm: tuple[float, ...]
    affine: NDArray[np.float64]
    slope: float
    intercept: float
    data_offset: int


def parse_header(path: Path, block: bytes) -> NiftiHeader:
    """Interpret the first bytes of a file, decompressed, and check them against its size on disk.

    Args:
        path: the file; `.gz` says that its voxels are compressed.
        block: its first `HEADER_BYTES` bytes, or all of a shorter file.

    Raises:
        DataError: no header, or one that cannot be true.
    """
    raw = _interpreted(path, block)
    checks = (_dim_fault, _pixdim_fault, _scale_fault, _dtype_fault)
    faults = [fault for check in checks if (fault := check(path, raw))]
    if not faults:  # only now the size of the array is known
        faults.extend(_size_faults(path, raw))
    if faults:
        raise DataError(*faults)
    slope = float(raw["scl_slope"])
    return NiftiHeader(
        path=path,
        shape=_shape(raw),
        dtype=raw.get_data_dtype(),
        stated_spacing_mm=tuple(_spacing(raw).tolist()),
        affine=_affine(path, raw),
        slope=slope or 1.0,  # 0 is the standard's way to say that nothing is scaled
        intercept=float(raw["scl_inter"]) if slope else 0.0,
        data_offset=int(raw["vox_offset"]),
    )


def extensions_begin(path: Path, block: bytes) -> tuple[int, str]:
    """Return the byte after the header, where extensions begin, and the file's byte order, "<" or ">".

    Raises:
        DataError: no header.
    """
    raw = _interpreted(path, block)
    return int(raw.template_dtype.itemsize), str(raw.endianness)


def _interpreted(path: Path, block: bytes) -> _RawHeader:
    for version, magic, position in _VERSIONS:
        size = version.template_dtype.itemsize
        if len(block) >= size and block[position : position + len(magic)] == magic:
            return version(block[:size], check=False)
    raise DataError(
        Fault(
            "not a NIfTI file",
            str(path),
            "a header with the magic n+1 or n+2",
            f"only {len(block)} bytes" if len(block) < HEADER_BYTES else "another content",
            "convert to NIfTI-1 in one file; pairs of .hdr and .img are not read",
        )
    )


def _shape(raw: _RawHeader) -> tuple[int, ...]:
    return tuple(int(size) for size in raw["dim"][1 : 1 + int(raw["dim"][0])])


def _spacing(raw: _RawHeader) -> NDArray[np.float64]:
    return np.array(raw["pixdim"][1 : 1 + min(max(int(raw["dim"][0]), 1), 3)], dtype=np.float64)


def _is_scaled(raw: _RawHeader) -> bool:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    return slope != 0 and (slope, intercept) != (1.0, 0.0)  # as the standard says, 0 scales nothing


def _dim_fault(path: Path, raw: _RawHeader) -> Fault | None:
    if 1 <= raw["dim"][0] <= 7 and min(_shape(raw)) > 0:
        return None
    return Fault(
        "impossible dimensions", str(path), "1 to 7 sizes of 1 or more", f"dim {raw['dim'].tolist()}"
    )


def _pixdim_fault(path: Path, raw: _RawHeader) -> Fault | None:
    spacing = _spacing(raw)
    if ((spacing >= MIN_SPACING_MM) & (spacing <= MAX_SPACING_MM)).all():  # not so for NaN
        return None
    return Fault(
        "impossible voxel size",
        str(path),
        f"pixdim from {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm",
        f"pixdim {spacing.tolist()}",
        "write the true spacing in mm into the header; distances are measured with it",
    )


def _scale_fault(path: Path, raw: _RawHeader) -> Fault | None:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if math.isfinite(slope) and math.isfinite(intercept):
        return None
    return Fault(
        "impossible intensity scale",
        str(path),
        "finite scl_slope and scl_inter",
        f"{slope} and {intercept}",
        "write slope 1 and intercept 0 if the voxels hold the intensities themselves",
    )


def _dtype_fault(path: Path, raw: _RawHeader) -> Fault | None:
    usable = "integers or floats of up to 64 bits, one channel"
    try:
        dtype = raw.get_data_dtype()
    except (HeaderDataError, KeyError):
        return Fault("unusable voxel type", str(path), usable, f"datatype code {int(raw['datatype'])}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        return Fault("unusable voxel type", str(path), usable, str(dtype))
    if int(raw["bitpix"]) != dtype.itemsize * 8:
        expected = f"bitpix {dtype.itemsize * 8} for {dtype}"
        return Fault("header contradicts itself", str(path), expected, f"bitpix {int(raw['bitpix'])}")
    return None


def _size_faults(path: Path, raw: _RawHeader) -> Iterator[Fault]:
    offset, first = float(raw["vox_offset"]), raw.template_dtype.itemsize + 4
    if not first <= offset <= MAX_OFFSET:  # not so for NaN
        yield Fault("impossible vox_offset", str(path), f"{first} to {MAX_OFFSET}", str(offset))
        return
    count, dtype = math.prod(_shape(raw)), raw.get_data_dtype()
    needed = int(offset) + count * dtype.itemsize
    on_disk = path.stat().st_size
    packed = path.name.endswith(".gz")
    if needed > on_disk * (MAX_DEFLATE_RATIO if packed else 1):
        yield Fault(
            "file ends too early",
            str(path),
            f"{needed} bytes for shape {_shape(raw)} of {dtype}",
            f"{on_disk} bytes on disk" + (", too few even if compressed" if packed else ""),
            "copy or download it again",
        )
    elif count > MAX_VALUES:
        got = f"{count}, shape {_shape(raw)}"
        yield Fault("image too large", str(path), f"at most {MAX_VALUES} values", got)
    elif fault := array_fault(path, _shape(raw), dtype, scaled=_is_scaled(raw)):
        yield fault


def _affine(path: Path, raw: _RawHeader) -> NDArray[np.float64]:
    """Index -> RAS mm: sform, else qform, else the spacing alone (NIfTI-1, methods 3, 2 and 1)."""
    if raw["pixdim"][0] == 0:
        raw["pixdim"][0] = 1  # the standard reads an unset handedness as right-handed
    sform = np.asarray(raw.get_sform(), np.float64) if raw["sform_code"] > 0 else None
    try:
        qform = np.asarray(raw.get_qform(), np.float64) if raw["qform_code"] > 0 else None
    except (HeaderDataError, ValueError) as error:
        if sform is None:
            fault = Fault("impossible qform", str(path), "a unit quaternion, handedness 1 or -1", str(error))
            raise DataError(fault) from error
        qform = None
    if sform is not None:
        if qform is not None and not np.allclose(sform, qform, rtol=0, atol=1e-2):
            log.warning("%s: qform and sform differ; the sform is used, other software may differ", path)
        return sform
    if qform is not None:
        return qform
    log.warning("%s: neither qform nor sform; axes are taken as right, anterior, superior, origin as 0", path)
    spacing = np.ones(3)
    spacing[: _spacing(raw).size] = _spacing(raw)
    return np.diag([*spacing, 1.0])
