"""Deformable registration by ANTs, elastix or the package convexAdam, for bench_registration.py.

    PEERS/bin/python benchmarks/registration_peers.py syn|elastix|package FIXED MOVING FIELD.nii.gz

Needs antspyx 0.6.3, itk-elastix 0.25.4 and convexAdam 0.2.0. Each method at its defaults: `SyNRA` (rigid,
affine, SyN) of antspyx; the maps `rigid`, `affine` and `bspline` of elastix one after the other;
`convex_adam_pt`. The field is that of Learn2Reg: voxels, from a voxel of fixed to where it came from in
moving. The package reads no headers, so that its field joins the arrays; the others go through scanner space.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

_TURN = np.array((-1.0, -1.0, 1.0))  # LPS to RAS


def by_syn(fixed: str, moving: str) -> np.ndarray:
    """Return the field of SyN after a rigid and an affine stage."""
    import ants

    target = ants.image_read(fixed)
    found = ants.registration(target, ants.image_read(moving), type_of_transform="SyNRA")
    with tempfile.TemporaryDirectory() as folder:
        composite = ants.apply_transforms(
            target, target, found["fwdtransforms"], compose=str(Path(folder) / "joined")
        )
        lps_mm = np.squeeze(nib.load(composite).get_fdata(dtype=np.float32))
    return in_voxels(lps_mm, fixed, moving)


def by_elastix(fixed: str, moving: str) -> np.ndarray:
    """Return the field of a B-spline after a rigid and an affine stage."""
    import itk

    parameters = itk.ParameterObject.New()
    for name in ("rigid", "affine", "bspline"):
        chosen = parameters.GetDefaultParameterMap(name)
        chosen["AutomaticTransformInitialization"] = ("true",)
        parameters.AddParameterMap(chosen)
    images = [itk.imread(path, itk.F) for path in (fixed, moving)]
    _, result = itk.elastix_registration_method(*images, parameter_object=parameters, log_to_console=False)
    lps_mm = itk.GetArrayFromImage(itk.transformix_deformation_field(images[1], result))
    return in_voxels(lps_mm.transpose(2, 1, 0, 3), fixed, moving)


def by_package(fixed: str, moving: str) -> np.ndarray:
    """Return the field of the package convexAdam."""
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    images = [nib.load(path).get_fdata(dtype=np.float32) for path in (fixed, moving)]
    return convex_adam_pt(*images, dtype=torch.float32, device=torch.device("cpu"))


def in_voxels(lps_mm: np.ndarray, fixed: str, moving: str) -> np.ndarray:
    """Turn a displacement in LPS mm on the grid of fixed into voxels of fixed to voxels of moving."""
    there, back = nib.load(fixed).affine, np.linalg.inv(nib.load(moving).affine)
    voxels = np.stack(np.meshgrid(*map(np.arange, lps_mm.shape[:3]), indexing="ij"), axis=-1)
    ras_mm = voxels @ there[:3, :3].T + there[:3, 3] + lps_mm * _TURN
    return ras_mm @ back[:3, :3].T + back[:3, 3] - voxels


if __name__ == "__main__":
    method = sys.argv[1]
    fixed_path, moving_path, output = (str(Path(path).resolve()) for path in sys.argv[2:])
    register = {"syn": by_syn, "elastix": by_elastix, "package": by_package}[method]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # elastix writes its field beside what it returns
        displacement = register(fixed_path, moving_path).astype(np.float32)
        os.chdir("/")
    nib.save(nib.Nifti1Image(displacement, nib.load(fixed_path).affine), output)
