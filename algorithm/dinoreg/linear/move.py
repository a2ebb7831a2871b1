"""A linear map put to use: an image read through it, and a displacement that goes before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.linear.maps import Matrix, inverse, nearest_map
from dinoreg.preprocess.foreground import content_box
from dinoreg.preprocess.prepare import PreparedImage, continued, is_blanked
from dinoreg.space.coords import identity_positions
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame

_FIT_POINTS = 4_000  # that a map is fitted to


def scaling(spacing_mm: Sequence[float]) -> Matrix:
    """Return the map from voxels to mm along the array axes, (4, 4)."""
    return np.diag([*spacing_mm, 1.0])


def in_voxels(matrix: Matrix, to_mm: Matrix) -> Matrix:
    """Return a map in mm as one in voxels, where both images have the same voxels.

    Args:
        matrix: (4, 4), mm.
        to_mm: (4, 4), voxels to mm.
    """
    return np.asarray(np.linalg.solve(to_mm, matrix @ to_mm))


def in_mm(matrix: Matrix, to_mm: Matrix) -> Matrix:
    """Return a map in voxels as one in mm; the inverse of `in_voxels`."""
    return np.asarray(to_mm @ matrix @ inverse(to_mm))


def read_through(image: PreparedImage, matrix: Matrix) -> PreparedImage:
    """Read an image at the voxels that a map leads to; beyond it nothing is foreground.

    What lies there goes on from the image, where it does so itself; else it gets the value that the image has
    outside its foreground: 0 where that was blanked, else its lowest.

    Args:
        image: (I, J, K).
        matrix: (4, 4), voxels.
    """
    from scipy import ndimage

    blanked = is_blanked(image)
    lowest = 0.0 if blanked else float(image.values.min())
    mode: Literal["constant", "nearest"] = "constant" if image.beyond is None else "nearest"
    values = ndimage.affine_transform(image.values, matrix, order=1, mode=mode, cval=lowest)
    share = ndimage.affine_transform(image.foreground.astype(np.float32), matrix, order=1)
    foreground = share > 0.5
    values = (np.where(foreground, values, np.float32(0)) if blanked else values).astype(np.float32)
    beyond = None
    if image.beyond is not None:
        beyond = ndimage.affine_transform((~image.beyond).astype(np.float32), matrix, order=1) <= 0.5
    read = replace(image, values=values, foreground=foreground, content=content_box(values), identity="")
    return continued(read, beyond)


def then_map(vectors: Tensor, matrix: Matrix) -> Tensor:
    """Return the displacement that moves by vectors and then by a map: M (x + u(x)) - x.

    Args:
        vectors: (3, *S) voxels.
        matrix: (4, 4), voxels.
    """
    there = identity_positions(vectors.shape[1:], device=vectors.device) + vectors
    change = torch.from_numpy(matrix[:3] - np.eye(4)[:3]).to(vectors)
    return vectors + torch.einsum("ab,b...->a...", change[:, :3], there) + change[:, 3].view(3, 1, 1, 1)


def before_map(displacement: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    """Return what comes before the map in a displacement of `then_map`: M^-1 (x + d(x)) - x.

    Args:
        displacement: (I, J, K, 3) voxels.
        matrix: (4, 4), voxels.
    """
    vectors = torch.from_numpy(np.moveaxis(displacement, -1, 0).copy())
    before = then_map(vectors, inverse(matrix)).movedim(0, -1).contiguous().numpy()
    return np.asarray(before, dtype=np.float32)


def linear_part(deformation: Deformation, frame: Frame) -> Matrix:
    """Return the linear map that is closest to a deformation, (4, 4), mm along the array axes.

    Args:
        deformation: on a lattice over the box of the frame.
        frame: of the pair.
    """
    lattice = deformation.lattice
    count = math.prod(lattice.shape)
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_FIT_POINTS]
    cells = torch.stack(torch.unravel_index(chosen, lattice.shape), dim=1).double()
    vectors = deformation.vectors.flatten(1).cpu()[:, chosen].T.double()
    mm = torch.tensor(lattice.spacing_mm, dtype=torch.float64)
    voxel_mm = torch.tensor(frame.spacing_mm, dtype=torch.float64)
    # The centre of the first cell of the box, counted from the centre of the first voxel of the image.
    first = voxel_mm * torch.tensor(frame.origin, dtype=torch.float64) + (mm - voxel_mm) / 2
    points = first + cells * mm
    return nearest_map(points.numpy(), (points + vectors * mm).numpy())
