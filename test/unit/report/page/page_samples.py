"""A pair on two grids, oblique, anisotropic and flipped, with a known displacement."""

import numpy as np

from dinoreg.report.page import Points, Shown
from dinoreg.space.regrid import regrid
from regtask.grid import Grid
from regtask.images import Volume

SHIFT = np.array([3.0, -5.0, 7.0])  # voxels of fixed


def turned(degrees, spacing, origin, columns):
    """An affine whose array axes run along the given signed axes of RAS, turned about S."""
    a = np.radians(degrees)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    for n, axis in enumerate(columns):
        affine[:3, n] = rotation[:, abs(axis) - 1] * np.sign(axis) * spacing[n]
    affine[:3, 3] = origin
    return affine


# Array axes: left, posterior, superior; and superior, right, posterior.
FIXED = Grid((40, 36, 28), turned(6, (2.0, 2.2, 3.0), (40, 40, -30), (-1, -2, 3)))
MOVING = Grid((34, 44, 42), turned(-4, (2.5, 1.9, 1.8), (-45, 50, -40), (3, 1, -2)))


def blob(grid, centre_ras, radius_mm):
    """A bright ball, (I, J, K) float32."""
    index = np.indices(grid.shape).reshape(3, -1).T
    away = np.linalg.norm(grid.index_to_ras(index) - centre_ras, axis=1)
    return np.exp(-((away / radius_mm) ** 2)).reshape(grid.shape).astype(np.float32)


def make_shown(*, labels=True, points=True, **changes):
    """A pair whose moving image is fixed, shifted by SHIFT."""
    centre = FIXED.index_to_ras([(18.0, 20.0, 12.0)])[0]
    shift_ras = FIXED.affine[:3, :3] @ SHIFT
    fixed, moving = blob(FIXED, centre, 14), blob(MOVING, centre + shift_ras, 14)
    moved = Grid(FIXED.shape, translated(FIXED.affine, shift_ras))
    field = np.broadcast_to(SHIFT, (*FIXED.shape, 3)).astype(np.float32)
    known = {}
    if labels:
        known |= {
            "fixed_labels": (fixed > 0.4).astype(np.int16) * 7,
            "moving_labels": (moving > 0.4).astype(np.int16) * 7,
            "warped_labels": (regrid(moving, MOVING, moved, order=1, outside=0) > 0.4).astype(np.int16) * 7,
            "label_names": {7: "ball </script><b>"},
        }
    if points:
        at = np.array([(18.0, 20.0, 12.0), (12.0, 15.0, 8.0)])
        found = MOVING.ras_to_index(FIXED.index_to_ras(at + SHIFT))
        known["points"] = Points(at, found, np.add(found, [[0, 0, 0], [2, 0, 0]]), ("a <b>", "c"))
    return Shown(
        **{
            "title": "fixed <-- moving",
            "fixed": Volume(fixed, FIXED),
            "moving": Volume(moving, MOVING),
            "warped": regrid(moving, MOVING, moved, order=1, outside=0),
            "displacement": field,
            "read_on": FIXED,
            **known,
            **changes,
        }
    )


def translated(affine, vector):
    result = np.array(affine)
    result[:3, 3] += vector
    return result
