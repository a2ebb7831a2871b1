"""Displacement images in LPS mm: ANTs' and ITK's 5-D NIfTI, 3D Slicer's and elastix' NRRD and MetaImage.

NIfTI is read and written here, not by ITK: SimpleITK 2.5.7 writes past its memory on a vector image of
integers with a slope. The vectors of intent 1007 ("vector"), which ANTs, ITK, elastix and 3D Slicer write,
are LPS; those of 1006 ("displacement vector") are RAS, as ITK takes them since version 5.3.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from dinoreg.desk.images import grid_of, refuse_unwritten, to_itk
from regtask.atomic import atomic_path
from regtask.errors import DataError, Fault, OutputError, SpaceError
from regtask.grid import Grid
from regtask.images import write_nifti
from regtask.metaimage import read_field_mha
from regtask.nifti import read_nifti, read_nifti_header
from regtask.untrusted.memory import array_fault
from regtask.untrusted.opening import open_regular
from regtask.values import as_float32, nonfinite_fault

_VECTOR, _DISPLACEMENT_VECTOR = 1007, 1006
_LPS_FROM_RAS = np.array((-1.0, -1.0, 1.0), np.float32)
_EXPECTED = "a displacement image: three axes, three components per voxel, LPS mm"
_HEADER_BYTES = 348


def read_displacement_image(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read a displacement image.

    Args:
        path: NIfTI of (I, J, K, 1, 3); NRRD or MetaImage of three components; or the scalar MetaImage of
            (I, J, K, 3) that Grand Challenge takes.

    Returns:
        (I, J, K, 3) LPS mm, and where they are.

    Raises:
        DataError: it is not such an image, is damaged, or a component is not finite.
    """
    vectors, grid = _read_nifti(path) if path.name.endswith((".nii", ".nii.gz")) else _read_itk(path)
    if fault := nonfinite_fault(vectors, str(path)):
        raise DataError(fault)
    return vectors, grid


def is_vector_nifti(path: Path) -> bool:
    """Tell whether a NIfTI file has the shape of a displacement image, (I, J, K, 1, 3).

    Raises:
        DataError: it cannot be read.
    """
    shape = read_nifti_header(path).shape
    return len(shape) == 5 and shape[3:] == (1, 3)


def write_displacement_image(path: Path, vectors_lps: NDArray[np.floating], grid: Grid) -> None:
    """Write a displacement image, float32, whole or not at all.

    Args:
        path: `.nii.gz` or `.nii` (intent 1007), `.nrrd` or `.mha`.
        vectors_lps: (I, J, K, 3) mm.
        grid: where they are.

    Raises:
        OutputError: it cannot be written, or the suffix is another one.
    """
    refuse_unwritten(path)
    vectors = as_float32(vectors_lps)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        write_nifti(path, vectors[:, :, :, None, :], grid, _mark)
        return
    try:
        with atomic_path(path) as temporary:
            sitk.WriteImage(to_itk(vectors, grid), str(temporary), useCompression=True)
    except RuntimeError as error:
        expected = ".nii.gz, .nii, .nrrd or .mha"
        raise OutputError(Fault("cannot write", str(path), expected, str(error).splitlines()[-1])) from error


def _mark(header: Any) -> None:
    header.set_intent(_VECTOR)


def _read_nifti(path: Path) -> tuple[NDArray[np.float32], Grid]:
    header = read_nifti_header(path)
    if len(header.shape) != 5 or header.shape[3:] != (1, 3):
        remedy = "for a Learn2Reg field of (I, J, K, 3) voxels say --from learn2reg"
        raise DataError(
            Fault("not a displacement image", str(path), "(I, J, K, 1, 3)", str(header.shape), remedy)
        )
    intent = _intent(path)
    if intent not in (_VECTOR, _DISPLACEMENT_VECTOR):
        expected = f"intent {_VECTOR} (vector, LPS mm) or {_DISPLACEMENT_VECTOR} (displacement, RAS mm)"
        raise DataError(Fault("what the vectors mean is not said", str(path), expected, f"intent {intent}"))
    array, _ = read_nifti(path)
    vectors = as_float32(array[:, :, :, 0, :])
    try:
        grid = Grid(header.shape[:3], header.affine)
    except SpaceError as error:
        raise DataError(Fault("impossible grid", str(path), got=str(error))) from error
    return (vectors * _LPS_FROM_RAS if intent == _DISPLACEMENT_VECTOR else vectors), grid


def _intent(path: Path) -> int:
    with open_regular(path) as file:
        packed = path.name.endswith(".gz")
        block = (gzip.GzipFile(fileobj=file) if packed else file).read(_HEADER_BYTES)
    parse: Any = Nifti1Header
    return int(parse(block, check=False)["intent_code"])


def _read_itk(path: Path) -> tuple[NDArray[np.float32], Grid]:
    with open_regular(path):  # no pipe, no folder
        pass
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if path.name.endswith(".mha") and reader.GetDimension() == 4:
            return read_field_mha(path)
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 3:
            got = f"{reader.GetSize()} with {reader.GetNumberOfComponents()} components"
            raise DataError(Fault("not a displacement image", str(path), _EXPECTED, got))
        if fault := array_fault(path, (*reader.GetSize(), 3), np.dtype(np.float32)):
            raise DataError(fault)
        image = reader.Execute()
    except RuntimeError as error:
        raise DataError(
            Fault("cannot read", str(path), _EXPECTED, str(error).splitlines()[-1].strip())
        ) from error
    values = sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3)
    grid = grid_of(image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    return as_float32(values), grid
