"""Our arrays and grids as SimpleITK sees them: axes reversed, LPS instead of RAS."""

import numpy as np
import SimpleITK as sitk

FLIP = np.diag((-1.0, -1.0, 1.0))  # RAS <-> LPS


def as_itk(array, grid, *, vector=False):
    """(I, J, K) on a grid, or (I, J, K, C) with `vector`, -> a SimpleITK image."""
    image = sitk.GetImageFromArray(np.moveaxis(array, (0, 1, 2), (2, 1, 0)), isVector=vector)
    image.SetOrigin((FLIP @ grid.affine[:3, 3]).tolist())
    image.SetSpacing(grid.spacing_mm)
    image.SetDirection((FLIP @ grid.affine[:3, :3] / grid.spacing_mm).ravel().tolist())
    return image
