"""Grids without any symmetry, and smooth displacements whose shift tells axes and signs apart."""

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from dinoreg.desk.exchange.lattice import field_transform, points_of
from regtask.grid import Grid

SHIFT_LPS = np.array([3.0, -5.0, 7.0])


def grid(shape, spacing, degrees, flip, origin):
    affine = np.eye(4)
    turn = Rotation.from_euler("zyx", degrees, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag(np.multiply(spacing, flip))
    affine[:3, 3] = origin
    return Grid(shape, affine)


GRIDS = {
    "plain": grid((20, 18, 15), (1.0, 1.0, 1.0), (0, 0, 0), (1, 1, 1), (0, 0, 0)),
    "anisotropic": grid((20, 16, 12), (1.1, 1.7, 3.0), (0, 0, 0), (-1, -1, 1), (11, -20, 31)),
    "oblique": grid((18, 20, 14), (1.5, 1.2, 2.5), (20, -12, 7), (1, 1, 1), (-30, 40, 5)),
    "flipped": grid((20, 15, 16), (1.3, 2.1, 1.6), (-15, 9, 25), (-1, 1, 1), (25, -10, -44)),
}


def wavy(fixed, *, amplitude_mm=1.5):
    """A smooth displacement of a grid, (I, J, K, 3) LPS mm; its median is near SHIFT_LPS."""
    at = points_of(fixed)
    phase = (at - at.mean(axis=0)) / (0.35 * np.ptp(at, axis=0))
    waves = np.stack([np.sin(phase[:, 1] + 0.3), np.cos(phase[:, 2]), np.sin(phase[:, 0] - 0.7)], axis=1)
    return (SHIFT_LPS + amplitude_mm * waves).reshape(*fixed.shape, 3).astype(np.float32)


def wavy_transform(fixed, *, amplitude_mm=1.5):
    return field_transform(wavy(fixed, amplitude_mm=amplitude_mm), fixed)


def rigid(degrees=(12, -7, 9), shift=SHIFT_LPS, centre=(5.0, -9.0, 14.0)):
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre)
    transform.SetRotation(*np.radians(degrees))
    transform.SetTranslation(np.asarray(shift).tolist())
    return transform


def inner_points(fixed, count=60, seed=0, margin=0.15):
    """Points well inside a grid, LPS mm."""
    index = np.random.default_rng(seed).uniform(margin, 1 - margin, (count, 3)) * (np.array(fixed.shape) - 1)
    return fixed.index_to_ras(index) * (-1, -1, 1)


def lead(transform, points):
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def assert_same(one, other, fixed, voxels=0.01, points=None):
    """Two transforms agree to a hundredth of the smallest voxel."""
    points = inner_points(fixed) if points is None else points
    apart = np.linalg.norm(lead(one, points) - lead(other, points), axis=1)
    assert apart.max() < voxels * min(fixed.spacing_mm)


def wide(grid, margin=10):
    """The lattice of a grid with voxels around it, so that a shifted image does not leave it."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_ras([[-margin] * 3])[0]
    return Grid(tuple(n + 2 * margin for n in grid.shape), affine)


def overlapping(fixed_name, moving_name):
    """Two grids of other axes about one place."""
    fixed, moving = GRIDS[fixed_name], wide(GRIDS[moving_name])
    affine = moving.affine.copy()
    middle = [[(n - 1) / 2 for n in grid.shape] for grid in (fixed, moving)]
    affine[:3, 3] += fixed.index_to_ras([middle[0]])[0] - moving.index_to_ras([middle[1]])[0]
    return fixed, Grid(moving.shape, affine)
