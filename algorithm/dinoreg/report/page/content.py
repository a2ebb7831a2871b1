"""What a page's script has to know: arrays in 8 bits, where they lie, their colours and their words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dinoreg.report import style
from dinoreg.report.content import choose_centre, find_content, grey_window
from dinoreg.report.determinant import jacobian_determinant
from dinoreg.report.page import maps
from dinoreg.report.page.embed import (
    Lattice,
    grey_limits,
    greys_in,
    make_lattice,
    pack,
    reduce_any,
    reduce_mean,
    reduce_nearest,
    vectors_in,
)
from dinoreg.report.page.mismatch import mismatch
from dinoreg.report.page.scores import PointErrors
from dinoreg.report.page.shown import Shown
from dinoreg.space.regrid import regrid

# The field and the maps are smooth, or are looked at as a whole: fewer voxels do.
_FIELD_VOXELS = 400_000
_MISMATCH_VOXELS = 800_000
_MOST_LABELS = 255
# The colour scale of displacements reaches at least so far, or rounding errors would look like motion.
_SHORTEST_SCALE_MM = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What is embedded.

    Attributes:
        arrays: name -> packed values.
        facts: for the script, plain JSON.
        folded_percent: of all voxels.
        length_mm: median and 99 % of |u|.
        fixed: where the embedded fixed image lies.
    """

    arrays: dict[str, str]
    facts: dict[str, Any]
    folded_percent: float
    length_mm: tuple[float, float]
    fixed: Lattice


def make_content(shown: Shown, errors: PointErrors | None, most_voxels: int) -> Content:
    """Gather what a page embeds.

    Args:
        shown: the pair.
        errors: of its landmarks.
        most_voxels: of each image; larger ones are reduced.
    """
    grid, field = shown.fixed.grid, shown.displacement
    fixed, moving = make_lattice(grid, most_voxels), make_lattice(shown.moving.grid, most_voxels)
    coarse = make_lattice(grid, min(_FIELD_VOXELS, most_voxels))
    lattices = {"fixed": fixed, "moving": moving, "field": coarse}
    has_data = shown.has_data()
    window = grey_window(shown.moving.data)
    determinant = jacobian_determinant(field)
    lengths = np.linalg.norm(field * np.array(grid.spacing_mm, np.float32), axis=-1)
    median, high = (float(x) for x in np.quantile(lengths, (0.5, 0.99)))
    longest = max(float(np.quantile(lengths, 0.995)), _SHORTEST_SCALE_MM)

    vectors = vectors_in(field, coarse)
    scale = max(float(np.abs(vectors).max()), 1e-3) / 32000
    detail = make_lattice(grid, min(_MISMATCH_VOXELS, most_voxels))
    lattices["mismatch"] = detail
    images = reduce_mean(shown.fixed.data, detail), reduce_mean(shown.warped, detail)
    residual = mismatch(*images)
    # Noise around the patient differs too, and says nothing.
    seen = reduce_nearest(has_data, detail) & np.logical_and(*(_near_content(image) for image in images))
    arrays: dict[str, tuple[NDArray[Any], str]] = {
        "fixed": (
            greys_in(shown.fixed.data, fixed, grey_window(shown.fixed.data), shown.fixed.invalid),
            "fixed",
        ),
        "moving": (greys_in(shown.moving.data, moving, window, shown.moving.invalid), "moving"),
        "warped": (greys_in(shown.warped, fixed, window, ~has_data), "fixed"),
        "field": (np.rint(vectors / scale).astype("<i2"), "field"),
        "jacobian": (
            maps.code_jacobian(reduce_mean(determinant, coarse), reduce_any(determinant <= 0, coarse)),
            "field",
        ),
        "length": (maps.code_linear(reduce_mean(lengths, coarse), longest), "field"),
        "mismatch": (
            np.where(seen, maps.code_linear(residual, maps.MISMATCH_TOP), 0).astype(np.uint8),
            "mismatch",
        ),
    }
    legend = _add_labels(arrays, shown, fixed, moving)
    facts = {
        "arrays": {
            name: {"type": "i2" if values.dtype.kind == "i" else "u1", "lattice": lattice}
            for name, (values, lattice) in arrays.items()
        },
        "lattices": {name: lattice.as_dict() for name, lattice in lattices.items()},
        "toMoving": _to_moving(shown, fixed, moving).tolist(),
        "fromMoving": np.linalg.inv(_to_moving(shown, fixed, moving)).tolist(),
        "fieldScale": scale,
        "window": list(grey_limits()),
        "centre": _embedded(np.array([choose_centre(shown.fixed.data, shown.fixed_labels)]), fixed)[
            0
        ].tolist(),
        "longestMm": longest,
        "maps": maps.describe(longest),
        "labels": legend,
        "points": _points(shown, errors, fixed, moving),
        "pointDepthMm": 1.01 * max(np.linalg.norm(fixed.affine[:3, :3], axis=0)),
    }
    packed = {name: pack(values) for name, (values, _) in arrays.items()}
    return Content(packed, facts, 100 * float(np.mean(determinant <= 0)), (median, high), fixed)


def _near_content(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_dilation(find_content(image), iterations=2))


def _to_moving(shown: Shown, fixed: Lattice, moving: Lattice) -> NDArray[np.float64]:
    """Matrix from embedded voxels of fixed, displaced, to embedded voxels of moving."""
    return np.asarray(np.linalg.inv(moving.stored) @ shown.to_moving @ fixed.stored)


def _embedded(points: NDArray[Any], lattice: Lattice) -> NDArray[np.float64]:
    """Turn stored voxels, (N, 3), to embedded ones."""
    inverse = np.linalg.inv(lattice.stored)
    return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])


def _add_labels(
    arrays: dict[str, tuple[NDArray[Any], str]], shown: Shown, fixed: Lattice, moving: Lattice
) -> list[dict[str, str]]:
    """Embed the label maps, numbered anew from 1, and return the name and the colour of each number."""
    maps_of = {
        "fixedLabels": (shown.fixed_labels, fixed, "fixed"),
        "movingLabels": (shown.moving_labels, moving, "moving"),
        "warpedLabels": (shown.warped_labels, fixed, "fixed"),
        "beforeLabels": (_before(shown), fixed, "fixed"),
    }
    present = [np.unique(array) for array, _, _ in maps_of.values() if array is not None]
    labels = np.unique(np.concatenate(present)) if present else np.empty(0, int)
    labels = labels[labels > 0][:_MOST_LABELS]
    for name, (array, lattice, where) in maps_of.items():
        if array is not None and len(labels):
            reduced = reduce_nearest(array, lattice)
            number = np.searchsorted(labels, reduced)
            known = (number < len(labels)) & (labels[np.minimum(number, len(labels) - 1)] == reduced)
            arrays[name] = (np.where(known, number + 1, 0).astype(np.uint8), where)
    return [
        {"name": shown.label_names.get(int(n), f"label {n}"), "colour": style.label_colour(int(n))}
        for n in labels
    ]


def _before(shown: Shown) -> NDArray[np.integer] | None:
    if shown.moving_labels is None:
        return None
    stored = shown.moving_labels.astype(np.float32)
    return regrid(stored, shown.moving.grid, shown.read_on, order=0, outside=0).astype(np.int32)


def _points(
    shown: Shown, errors: PointErrors | None, fixed: Lattice, moving: Lattice
) -> list[dict[str, Any]] | None:
    points = shown.points
    if points is None or not len(points.fixed):
        return None
    colours = maps.point_colours(len(points.fixed), errors)
    at = {"fixed": _embedded(points.fixed, fixed), "found": _embedded(points.found, moving)}
    if points.true is not None:
        at["true"] = _embedded(points.true, moving)
    return [
        {"colour": colour} | {role: places[n].round(3).tolist() for role, places in at.items()}
        for n, colour in enumerate(colours)
    ]
