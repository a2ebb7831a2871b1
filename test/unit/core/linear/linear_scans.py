"""Two scans of one smooth body on oblique, anisotropic grids of their own, under a known map."""

import numpy as np
from core_reference import smooth_noise
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dinoreg.linear.levels import Placed
from dinoreg.preprocess.foreground import content_box
from dinoreg.preprocess.prepare import PreparedImage

_STEP = 3.0  # mm between the voxels of the body


def rigid(degrees, shift_mm):
    """(4, 4): turned about the origin by angles about x, y, z, then shifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def oblique(degrees, spacing, shape, flip=(1, 1, 1)):
    """Affine of a grid whose centre is the origin."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", degrees, degrees=True).as_matrix() @ np.diag(
        np.multiply(spacing, flip)
    )
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


FIXED_SHAPE, MOVING_SHAPE = (44, 40, 26), (36, 48, 34)
FIXED_TO_MM = oblique((8, -5, 3), (3.0, 3.4, 5.0), FIXED_SHAPE)
MOVING_TO_MM = oblique((-6, 4, 7), (3.8, 2.9, 4.0), MOVING_SHAPE, (-1, 1, 1))


class Body:
    """An ellipsoid with an offset lobe and a smooth texture inside."""

    def __init__(self, seed=3):
        rng = np.random.default_rng(seed)
        texture = smooth_noise((60, 56, 52), rng, sigma=2.5)
        x, y, z = (np.indices(texture.shape).T - (np.array(texture.shape) - 1) / 2).T * _STEP
        inside = (x / 56) ** 2 + (y / 48) ** 2 + (z / 44) ** 2 < 1
        inside |= ((x - 30) / 30) ** 2 + ((y + 38) / 26) ** 2 + ((z - 12) / 24) ** 2 < 1
        self.values = np.where(inside, 0.55 + 0.14 * np.clip(texture, -2.5, 2.5), 0).astype(np.float32)

    def seen(self, shape, to_mm, back=None, contrast=lambda v: v):
        """The body on a grid; `back` leads from mm there to mm of the body."""
        index = np.indices(shape).reshape(3, -1)
        mm = to_mm[:3, :3] @ index + to_mm[:3, 3:]
        if back is not None:
            mm = back[:3, :3] @ mm + back[:3, 3:]
        at = mm / _STEP + (np.array(self.values.shape)[:, None] - 1) / 2
        values = ndimage.map_coordinates(self.values, at, order=1, cval=0).reshape(shape).astype(np.float32)
        foreground = values > 0.05
        values = np.where(foreground, contrast(values), 0).astype(np.float32)
        return PreparedImage(values, foreground, content_box(values))


def pair(truth, contrast=lambda v: v):
    """Fixed and moving, which lies where `truth` leads."""
    body = Body()
    fixed = body.seen(FIXED_SHAPE, FIXED_TO_MM)
    moving = body.seen(MOVING_SHAPE, MOVING_TO_MM, np.linalg.inv(truth), contrast)
    return Placed(fixed, FIXED_TO_MM), Placed(moving, MOVING_TO_MM)


def error_mm(found, truth, placed):
    """Mean distance of where two maps lead from the foreground, mm."""
    points = np.argwhere(placed.image.foreground)[::50] @ placed.to_mm[:3, :3].T + placed.to_mm[:3, 3]
    points = np.c_[points, np.ones(len(points))]
    return float(np.linalg.norm((points @ (found - truth).T)[:, :3], axis=1).mean())
