"""A transform written for any program, and what that costs in accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.displacement_image import write_displacement_image
from dinoreg.desk.exchange.elastix import render_elastix
from dinoreg.desk.exchange.lattice import (
    StoringError,
    between,
    coarser,
    displacement_on,
    error_of,
    field_transform,
)
from dinoreg.desk.exchange.parts import only_field
from dinoreg.desk.exchange.read import Form
from dinoreg.desk.transforms import write_transform
from dinoreg.errors import ConfigError
from regtask.atomic import atomic_path, atomic_write_text
from regtask.errors import Fault, OutputError
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.physical import lps_to_voxels, voxels_to_lps

Precision = Literal["float32", "float16"]
_SUFFIXES: dict[Form, tuple[str, ...]] = {
    "itk": (".h5", ".hdf5", ".tfm", ".mat"),
    "image": (".nii.gz", ".nii", ".nrrd", ".mha"),
    "learn2reg": (".npz", ".nii.gz", ".nii"),
    "elastix": (".txt",),
}


def form_of(path: Path) -> Form:
    """Return the form that a suffix stands for.

    Raises:
        OutputError: it stands for none.
    """
    for form, suffixes in _SUFFIXES.items():
        if path.name.lower().endswith(suffixes):
            return form
    expected = ", ".join(dict.fromkeys(suffix for all_ in _SUFFIXES.values() for suffix in all_))
    raise OutputError(Fault("unknown form of transform", str(path), expected, path.suffix or "no suffix"))


def write_any_transform(
    path: Path,
    transform: sitk.Transform,
    *,
    form: Form | None = None,
    fixed: Grid | None = None,
    moving: Grid | None = None,
    stride: int = 1,
    precision: Precision = "float32",
) -> StoringError | None:
    """Write a transform, whole or not at all.

    Args:
        path: its suffix says the form where `form` does not.
        transform: from fixed to moving.
        form: `itk` keeps all parts as they are, unless `stride` asks for a field.
        fixed: lattice of what is written; not needed where the transform is one field, or keeps its parts.
        moving: grid in whose voxels a Learn2Reg field counts.
        stride: voxels of `fixed` between two vectors.
        precision: of a Learn2Reg field in `.npz`.

    Returns:
        The error made, where the transform is not stored exactly.

    Raises:
        ConfigError: what is asked for does not go together, or a grid is not known.
        OutputError: it cannot be written.
    """
    form = form or form_of(path)
    _refuse(path, form, stride, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "itk" and stride == 1:
        write_transform(path, transform)
        return None
    held = only_field(transform)
    grid = fixed or held
    if grid is None:
        what = "the transform says no lattice of its own"
        raise ConfigError(Fault(what, str(path), "the grid to store it on", remedy="name --fixed"))
    if form == "elastix":
        atomic_write_text(path, render_elastix(transform, grid))
        return None
    vectors, lattice = displacement_on(transform, grid), grid
    if stride > 1:
        vectors, lattice = coarser(vectors, grid, stride)
    if form == "learn2reg":
        vectors = _write_learn2reg(path, vectors, lattice, moving, precision)
    elif form == "itk":
        write_transform(path, field_transform(vectors, lattice))
    else:
        write_displacement_image(path, vectors, lattice)
    if stride == 1 and precision == "float32" and held is not None and held.matches(grid):
        return None
    stored = field_transform(vectors, lattice)
    if stride > 1 or (held is not None and held.matches(grid)):
        return error_of(transform, stored, grid, "at the voxels of fixed")
    return error_of(transform, stored, between(grid), "halfway between the voxels of fixed")


def _write_learn2reg(
    path: Path, vectors_lps: NDArray[np.float32], fixed: Grid, moving: Grid | None, precision: Precision
) -> NDArray[np.float32]:
    """Write a field in voxels; returns what its reader makes of it, LPS mm."""
    if moving is None:
        what = "in whose voxels the field is to count is not said"
        raise ConfigError(Fault(what, str(path), "the moving image", remedy="name --moving"))
    voxels = lps_to_voxels(vectors_lps, fixed, moving)
    if not path.name.endswith(".npz"):
        write_field(path, voxels, fixed, moving)
        return vectors_lps
    stored = voxels.astype(precision)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, displacement=stored)
    return voxels_to_lps(stored.astype(np.float32), fixed, moving)


def _refuse(path: Path, form: Form, stride: int, precision: Precision) -> None:
    faults = []
    if not path.name.lower().endswith(_SUFFIXES[form]):
        faults.append(Fault("suffix does not fit the form", str(path), f"for {form}: {_SUFFIXES[form]}"))
    if stride < 1 or (stride > 1 and form in ("elastix", "learn2reg")):
        expected = "1 or more; for learn2reg and elastix 1, since their readers take one vector per voxel"
        faults.append(Fault("no such lattice", "--stride", expected, str(stride)))
    if precision == "float16" and not path.name.endswith(".npz"):
        faults.append(
            Fault(
                "NIfTI, MetaImage and ITK know no float16",
                str(path),
                ".npz",
                remedy="--stride saves more: every second voxel is an eighth of the file",
            )
        )
    if faults:
        raise ConfigError(*faults)
