"""Two scans on other grids, oblique and anisotropic, whose true displacement is known."""

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk
from core_reference import smooth_noise
from desk_scans import SHIFT_MM
from scipy import ndimage

from dinoreg.desk.images import to_itk
from regtask.grid import Grid


@dataclass(frozen=True)
class Scans:
    """Fixed and moving with their grids; a point p of fixed lies at p + SHIFT_MM in moving, RAS mm."""

    fixed: np.ndarray
    moving: np.ndarray
    fixed_grid: Grid
    moving_grid: Grid
    labels: np.ndarray

    def itk(self):
        return to_itk(self.fixed, self.fixed_grid), to_itk(self.moving, self.moving_grid)


def turned(degrees, spacing, origin, flip=(1, 1, 1)):
    a = np.radians(degrees)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(np.multiply(spacing, flip))
    affine[:3, 3] = origin
    return affine


@pytest.fixture(scope="module")
def scans():
    rng = np.random.default_rng(3)
    world = smooth_noise((70, 70, 70), rng, sigma=3.0)
    world = 100 * (world - world.min()) / np.ptp(world)

    def read(grid, shift):
        ras = grid.index_to_ras(np.indices(grid.shape).reshape(3, -1).T) - shift
        at = (ras + 70).T / 2  # voxels of 2 mm about the isocentre
        return ndimage.map_coordinates(world, at, order=1, mode="nearest").reshape(grid.shape)

    fixed_grid = Grid((40, 36, 30), turned(8, (2.0, 2.2, 2.5), (-40, -36, -36)))
    moving_grid = Grid((34, 44, 42), turned(-5, (2.5, 1.9, 1.8), (40, -42, -36), (-1, 1, 1)))
    fixed = read(fixed_grid, np.zeros(3)).astype(np.float32)
    moving = read(moving_grid, SHIFT_MM).astype(np.float32)
    labels = (moving > 55).astype(np.uint8) + 2 * (moving > 70).astype(np.uint8)
    return Scans(fixed, moving, fixed_grid, moving_grid, labels)


@pytest.fixture(scope="module")
def files(scans, tmp_path_factory):
    """The scans as files: fixed NIfTI, moving MetaImage, labels NRRD."""
    folder = tmp_path_factory.mktemp("scans")
    fixed, moving = scans.itk()
    sitk.WriteImage(fixed, str(folder / "fixed.nii.gz"))
    sitk.WriteImage(sitk.Cast(moving, sitk.sitkInt16), str(folder / "moving.mha"))
    sitk.WriteImage(to_itk(scans.labels, scans.moving_grid), str(folder / "organs.nrrd"))
    return folder
