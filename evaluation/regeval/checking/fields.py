"""One field of a submission: shape, type and values."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from regtask.errors import DataError, Fault
from regtask.fields import Layout, read_field
from regtask.nifti import read_nifti_header
from regtask.untrusted.opening import open_regular

# Slope of the vectors over the voxel indices: 0 for any usual field, 1 where the identity is included.
_IDENTITY_SLOPE = (0.7, 1.3)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedField:
    """What a file holds.

    Attributes:
        vectors: (I, J, K, 3) float32 as submitted; None where it cannot be read as a field.
        dtype: stored type; empty where it cannot be read.
        faults: everything that is wrong with the file.
    """

    vectors: NDArray[np.float32] | None
    dtype: str
    faults: tuple[Fault, ...]


def check_field(path: Path, shape: tuple[int, ...], layout: Layout) -> CheckedField:
    """Read a field and judge its form.

    Args:
        path: `.nii`, `.nii.gz` or `.npz`.
        shape: (I, J, K) of the fixed image.
        layout: where the components are.
    """
    try:
        vectors = read_field(path, shape, layout)
        dtype = _stored_dtype(path)
    except DataError as error:
        return CheckedField(None, "", error.faults)
    faults = []
    if dtype == np.float16:
        largest = float(np.abs(vectors).max(initial=0))
        step = float(np.spacing(np.float16(largest)))
        remedy = "write float32; float16 was the rule in 2020 and 2021 only, and some evaluators refuse it"
        got = f"float16: vectors of {largest:.3g} voxels are rounded to {step:.2g}"
        faults.append(Fault("half precision", path.name, "float32", got, remedy))
    elif dtype.kind != "f":
        faults.append(Fault("whole voxels only", path.name, "float32", str(dtype), "write float32"))
    return CheckedField(vectors, str(dtype), tuple(faults))


def includes_identity(vectors: NDArray[np.floating]) -> bool:
    """Tell whether vectors are positions: along each axis they grow by about one voxel per voxel.

    As displacements they would mean anatomy that is twice as large in every direction.

    Args:
        vectors: (I, J, K, 3).
    """
    sizes = vectors.shape[:3]
    slopes = []
    for axis, size in enumerate(sizes):
        if size > 1:
            others = tuple(other for other in range(3) if other != axis)
            profile = vectors[..., axis].mean(axis=others, dtype=np.float64)
            slopes.append(np.polyfit(np.arange(size), profile, 1)[0])
    low, high = _IDENTITY_SLOPE
    return bool(slopes) and all(low < slope < high for slope in slopes)


def _stored_dtype(path: Path) -> np.dtype[np.generic]:
    """Return the type on disk of a file that has been read without a fault."""
    if not path.name.endswith(".npz"):
        return read_nifti_header(path).dtype
    with (
        open_regular(path) as file,
        zipfile.ZipFile(file) as archive,
        archive.open(archive.infolist()[0]) as stream,
    ):
        version = npy_format.read_magic(stream)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        return np.dtype(read(stream)[2])
