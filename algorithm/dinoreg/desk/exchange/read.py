"""A transform of any program, read as one of ITK's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import SimpleITK as sitk

from dinoreg.desk.exchange.displacement_image import is_vector_nifti, read_displacement_image
from dinoreg.desk.exchange.elastix import looks_like_elastix, read_elastix
from dinoreg.desk.exchange.lattice import field_transform
from dinoreg.desk.transforms import read_transform
from dinoreg.errors import ConfigError
from regtask.errors import DataError, Fault, SpaceError
from regtask.fields import read_field, read_field_grids
from regtask.grid import Grid
from regtask.physical import voxels_to_lps
from regtask.untrusted.opening import open_regular

Form = Literal["itk", "image", "learn2reg", "elastix"]
# What a file of each form is, for people.
FORMS: dict[Form, str] = {
    "itk": "transform file of ITK, ANTs' .mat and 3D Slicer's .h5 included",
    "image": "displacement image, LPS mm",
    "learn2reg": "Learn2Reg field, voxels",
    "elastix": "parameter file of elastix",
}
_ITK = (".h5", ".hdf5", ".tfm", ".mat", ".xfm")
_IMAGES = (".nrrd", ".nhdr", ".mha", ".mhd")
_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True, slots=True, eq=False)
class ReadTransform:
    """A transform from fixed to moving, LPS mm, and the form of the file that it came in."""

    transform: sitk.Transform
    form: Form


def read_any_transform(
    path: Path, *, form: Form | None = None, fixed: Grid | None = None, moving: Grid | None = None
) -> ReadTransform:
    """Read a transform.

    Args:
        path: see `FORMS`.
        form: of the file, where its name and its content do not tell.
        fixed: grid of the fixed image; needed for a field in `.npz`.
        moving: grid in whose voxels a Learn2Reg field counts; needed where the file does not note it.

    Raises:
        ConfigError: a Learn2Reg field whose moving grid is not known.
        DataError: it cannot be read, or the file holds no transform.
    """
    with open_regular(path) as stream:
        begin = stream.read(1 << 16)
    form = form or _form(path, begin)
    if form == "learn2reg":
        return ReadTransform(_learn2reg(path, fixed, moving), form)
    if form == "image":
        return ReadTransform(field_transform(*read_displacement_image(path)), form)
    transform = read_elastix(path) if form == "elastix" else read_transform(path)
    if transform.GetDimension() != 3:
        raise DataError(Fault("not a transform of space", str(path), "3D", f"{transform.GetDimension()}D"))
    return ReadTransform(transform, form)


def _form(path: Path, begin: bytes) -> Form:
    name = path.name.lower()
    if name.endswith(_NIFTI):
        return "image" if is_vector_nifti(path) else "learn2reg"
    if name.endswith(_IMAGES):
        return "image"
    if name.endswith(".npz"):
        return "learn2reg"
    if name.endswith(".txt") and looks_like_elastix(begin.decode("utf-8", errors="replace")):
        return "elastix"
    if name.endswith((*_ITK, ".txt")):
        return "itk"
    expected = ".h5, .tfm, .mat, .txt, .nii.gz, .nrrd, .mha or .npz"
    raise DataError(Fault("unknown form of transform", str(path), expected, path.suffix or "no suffix"))


def _learn2reg(path: Path, fixed: Grid | None, moving: Grid | None) -> sitk.Transform:
    noted = None
    if not path.name.endswith(".npz"):
        stored = read_field_grids(path)
        if fixed is not None and not fixed.matches(stored.fixed):
            remedy = "take the scan that it was found for, or, where --fixed is not needed, leave it out"
            raise SpaceError(
                Fault(
                    "the fixed image is not that of the field",
                    str(path),
                    got=stored.fixed.differences(fixed),
                    remedy=remedy,
                )
            )
        fixed, noted = stored.fixed, stored.moving
    if noted is not None and moving is not None and not noted.matches(moving):
        remedy = "take the scan that it was found for, or, where --moving is not needed, leave it out"
        raise SpaceError(
            Fault(
                "the moving image is not the one that the field notes",
                str(path),
                got=noted.differences(moving),
                remedy=remedy,
            )
        )
    moving = noted or moving
    if fixed is None or moving is None:
        lacking = " and ".join(name for name, grid in (("--fixed", fixed), ("--moving", moving)) if not grid)
        raise ConfigError(
            Fault(
                "a field in voxels does not say where its images lay",
                str(path),
                "the grids of the images that were registered",
                remedy=f"name {lacking}",
            )
        )
    vectors = read_field(path)
    if vectors.shape[:3] != fixed.shape:
        raise SpaceError(
            Fault("field and fixed image differ", str(path), str(fixed.shape), str(vectors.shape[:3]))
        )
    return field_transform(voxels_to_lps(vectors, fixed, moving), fixed)
