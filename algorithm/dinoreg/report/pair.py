"""The picture of a registered pair, with whatever label maps lie beside its images."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dinoreg.report.picture import draw_pair
from dinoreg.space.transform import Transform
from dinoreg.warp.apply import inside, moving_positions, warp_image, warp_labels
from regtask.errors import DataError
from regtask.images import Volume, read_labels
from regtask.pair import Pair

log = logging.getLogger(__name__)

Labels = NDArray[np.integer]


def draw_registration(
    path: Path, pair: Pair, fixed: Volume, moving: Volume, displacement: NDArray[np.floating]
) -> None:
    """Warp the moving image and draw the pair; see `dinoreg.report.picture.draw_pair`.

    Label maps that cannot be read are left out with a warning: a picture must not stop a run.

    Args:
        path: `.png`; its folder is made if absent.
        pair: where the images lie.
        fixed: the fixed image.
        moving: the moving image, of the same shape.
        displacement: (I, J, K, 3) voxels of the fixed grid, pull, identity not included.

    Raises:
        ValueError: the shapes differ.
        OutputError: the picture cannot be written.
    """
    field = displacement.astype(np.float32, copy=False)
    # The pair was registered voxel to voxel; where the two lie in the scanner makes no difference here.
    transform = Transform(field, fixed.grid, moving.grid, "voxel_to_voxel")
    positions = moving_positions(transform, moving.grid)
    files = pair.labels()
    fixed_labels = read_companion(files.fixed, fixed)
    moving_labels = read_companion(files.moving, moving)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_pair(
        path,
        fixed.data,
        moving.data,
        warp_image(moving.data, positions),
        field,
        fixed.grid.spacing_mm,
        fixed_labels=fixed_labels,
        warped_labels=None if moving_labels is None else warp_labels(moving_labels, positions),
        moving_labels=moving_labels,
        title=pair.case_key,
        affine=fixed.grid.affine,
        moving_affine=moving.grid.affine,
        no_data=~inside(positions, moving.grid.shape).numpy(),
    )


def read_companion(path: Path | None, image: Volume) -> Labels | None:
    """Read a label map that lies beside an image; None, and a warning, where it cannot be used."""
    if path is None:
        return None
    try:
        labels, grid = read_labels(path)
    except DataError as error:
        log.warning("picture without labels: %s", error)
        return None
    if grid.shape != image.grid.shape:
        log.warning("picture without labels: %s has shape %s, not %s", path, grid.shape, image.grid.shape)
        return None
    return labels
