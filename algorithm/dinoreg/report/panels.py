"""The single panels of a picture, each drawn on axes in mm."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from dinoreg.report import style
from dinoreg.report.grid_lines import GridLines
from dinoreg.report.views import View

_TILES = 8
# Places of the letters left, right, bottom and top, as shares of the panel.
_EDGES: tuple[
    tuple[float, float, Literal["left", "center", "right"], Literal["bottom", "center", "top"]], ...
] = (
    (0.015, 0.5, "left", "center"),
    (0.985, 0.5, "right", "center"),
    (0.5, 0.015, "center", "bottom"),
    (0.5, 0.985, "center", "top"),
)
# How far the tiles of the two images are tinted: enough to tell them apart, too little to hide anything.
_FIXED_TINT = np.array([0.86, 0.97, 1.0])
_WARPED_TINT = np.array([1.0, 0.95, 0.84])


def prepare(axes: Axes, view: View, edges: str) -> None:
    """Empty, dark axes in mm with true proportions and small letters of orientation.

    Args:
        axes: where.
        view: the plane's place.
        edges: letters for the left, right, bottom and top edge, or none.
    """
    axes.set_facecolor(style.PANEL)
    axes.set_aspect("equal")
    axes.set_xlim(0, view.size_mm[0])
    axes.set_ylim(0, view.size_mm[1])
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    for letter, (x, y, ha, va) in zip(edges, _EDGES, strict=False):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            horizontalalignment=ha,
            verticalalignment=va,
            fontsize=8,
            color=style.TEXT,
            path_effects=[withStroke(linewidth=1.5, foreground=style.PANEL)],
        )


def draw_grey(axes: Axes, plane: NDArray[np.floating], window: tuple[float, float], view: View) -> None:
    """Draw a plane of an image.

    Args:
        axes: where.
        plane: (up, across).
        window: intensities of black and white.
        view: the plane's place.
    """
    axes.imshow(
        plane,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        origin="lower",
        extent=view.extent_mm,
        interpolation="bilinear",
    )


def draw_checkerboard(
    axes: Axes,
    fixed: NDArray[np.floating],
    warped: NDArray[np.floating],
    windows: tuple[tuple[float, float], tuple[float, float]],
    view: View,
) -> None:
    """Draw tiles of the fixed (cool) and the warped image (warm) in turn.

    Args:
        axes: where.
        fixed: (up, across).
        warped: (up, across).
        windows: intensities of black and white of the fixed and of the warped image.
        view: the plane's place.
    """
    rows, columns = fixed.shape
    tile_mm = max(view.size_mm) / _TILES
    row = ((np.arange(rows) + 0.5) * view.size_mm[1] / rows // tile_mm).astype(np.int64)
    column = ((np.arange(columns) + 0.5) * view.size_mm[0] / columns // tile_mm).astype(np.int64)
    is_fixed = (row[:, None] + column[None, :]) % 2 == 0
    tinted = [
        _grey(plane, window)[..., None] * tint
        for plane, window, tint in zip((fixed, warped), windows, (_FIXED_TINT, _WARPED_TINT), strict=True)
    ]
    axes.imshow(
        np.where(is_fixed[..., None], *tinted),
        origin="lower",
        extent=view.extent_mm,
        interpolation="nearest",
    )


def draw_contours(
    axes: Axes, labels: NDArray[np.integer], view: View, *, dashed: bool = False, width: float = 1.1
) -> None:
    """Draw the outlines of the labels in a plane.

    Args:
        axes: where.
        labels: (up, across).
        view: the plane's place.
        dashed: draw broken lines.
        width: of the lines, points.
    """
    rows, columns = labels.shape
    # A frame of background closes the outlines of organs that the image border cuts.
    framed = np.pad(labels, 1)
    x_mm = (np.arange(columns + 2) - 0.5) * view.size_mm[0] / columns
    y_mm = (np.arange(rows + 2) - 0.5) * view.size_mm[1] / rows
    present = np.unique(labels[labels > 0])
    if len(present) > style.MANY_LABELS:
        width /= 2
    for label in present:
        axes.contour(
            x_mm,
            y_mm,
            (framed == label).astype(np.float32),
            levels=[0.5],
            colors=[style.label_colour(int(label))],
            linewidths=width,
            linestyles="dashed" if dashed else "solid",
        )


def draw_hatching(axes: Axes, mask: NDArray[np.bool_], view: View) -> None:
    """Hatch the voxels of a mask.

    Args:
        axes: where.
        mask: (up, across).
        view: the plane's place.
    """
    if not mask.any():
        return
    rows, columns = mask.shape
    framed = np.pad(mask, 1, mode="edge").astype(np.float32)
    filled = axes.contourf(
        (np.arange(columns + 2) - 0.5) * view.size_mm[0] / columns,
        (np.arange(rows + 2) - 0.5) * view.size_mm[1] / rows,
        framed,
        levels=[0.5, 1.5],
        colors="none",
        hatches=["/////"],
    )
    filled.set_edgecolor(style.HATCH)
    filled.set_linewidth(0)


def draw_grid(axes: Axes, lines: GridLines, longest_mm: float) -> ScalarMappable:
    """Draw bent grid lines, coloured by the length of the displacement.

    Args:
        axes: where.
        lines: what.
        longest_mm: length at the upper end of the colour scale.
    """
    collection = LineCollection(
        list(lines.segments_mm),
        cmap=style.LENGTH_MAP,
        norm=Normalize(0, longest_mm),
        linewidths=0.8,
        capstyle="round",
    )
    collection.set_array(lines.length_mm)
    axes.add_collection(collection, autolim=False)
    return collection


def draw_determinant(axes: Axes, plane: NDArray[np.floating], view: View) -> ScalarMappable:
    """Draw Jacobian determinants on a logarithmic scale with 1 in the middle; folds in the signal colour.

    Args:
        axes: where.
        plane: (up, across).
        view: the plane's place.
    """
    low, high = style.JACOBIAN_RANGE
    return axes.imshow(
        np.ma.masked_where(plane <= 0, plane),  # only folds take the signal colour
        cmap=style.jacobian_map(),
        norm=LogNorm(low, high),
        origin="lower",
        extent=view.extent_mm,
        interpolation="nearest",
    )


def _grey(plane: NDArray[np.floating], window: tuple[float, float]) -> NDArray[np.floating]:
    return np.asarray(np.clip((plane - window[0]) / (window[1] - window[0]), 0, 1))
