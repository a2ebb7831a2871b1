"""Register one pair with the pip package convexAdam at its defaults; run by its own Python.

usage: python run_convexadam_package.py FIXED.nii.gz MOVING.nii.gz FIELD.nii.gz
"""

import sys

import nibabel as nib
import numpy as np
import torch
from convexAdam.convex_adam_MIND import convex_adam_pt

fixed, moving = nib.load(sys.argv[1]), nib.load(sys.argv[2])
displacement = convex_adam_pt(
    fixed.get_fdata(dtype=np.float32),
    moving.get_fdata(dtype=np.float32),
    dtype=torch.float32,
    device=torch.device("cpu"),
)
nib.save(nib.Nifti1Image(displacement.astype(np.float32), fixed.affine), sys.argv[3])
