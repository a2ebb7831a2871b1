"""Corresponding points of a pair, known exactly."""

import numpy as np

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.render import RenderedImage
from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.points import Floats

_MARGIN_VOXELS = 1.0


def pair_landmarks(
    anatomy: Anatomy,
    deformation: SmoothDeformation,
    lattice: Lattice,
    fixed: RenderedImage,
    moving: RenderedImage,
    rng: np.random.Generator,
    *,
    count: int = 80,
    apart_mm: float = 9.0,
) -> tuple[Floats, Floats]:
    """Choose anatomical points seen in both images.

    Convention: row n of both results is the same anatomical point; moving = phi(fixed), exact to 1e-9 mm.

    Args:
        anatomy: the patient of both images.
        deformation: phi, fixed -> moving, mm.
        lattice: of both images.
        fixed: image of the deformed anatomy; its mask bounds the points.
        moving: image of the anatomy as it is; its mask bounds the points.
        rng: source of the choice among the candidates.
        count: most points to return.
        apart_mm: least distance between two points, in moving space.

    Returns:
        Fixed and moving positions, each (N, 3) voxels with N <= count. The fixed ones are rounded to three
        decimals before the moving ones are computed, so that a file with three decimals holds them exactly.
    """
    anchors = anatomy.anchors_mm()
    candidates = np.round(lattice.to_voxels(deformation.inverse_at(anchors)), 3)
    mapped_mm = deformation(lattice.to_mm(candidates))
    mapped = lattice.to_voxels(mapped_mm)
    usable = _seen(candidates, lattice, fixed) & _seen(mapped, lattice, moving)
    chosen: list[int] = []
    for index in rng.permutation(np.flatnonzero(usable)):
        gaps = np.linalg.norm(mapped_mm[chosen] - mapped_mm[index], axis=1)
        if len(chosen) < count and (gaps >= apart_mm).all():
            chosen.append(int(index))
    rows = np.sort(chosen).astype(np.intp)
    return candidates[rows], mapped[rows]


def _seen(
    voxels: Floats, lattice: Lattice, image: RenderedImage
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which points lie inside the lattice and on the mask of the image, (N,)."""
    inside = lattice.contains(voxels, _MARGIN_VOXELS)
    nearest = np.clip(np.rint(voxels).astype(int), 0, np.asarray(lattice.shape) - 1)
    seen: np.ndarray[tuple[int], np.dtype[np.bool_]] = inside & (image.mask[tuple(nearest.T)] > 0)
    return seen
