"""Features of both volumes as colours: what looks alike to the encoder has one colour in both.

Convention: arrays in NIfTI index order, channels first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from dinoreg.report import panels, style
from dinoreg.report.content import choose_centre
from dinoreg.report.views import View, make_views
from regtask.atomic import atomic_path

_DPI = 110
_FOOTER_INCHES = 0.35
# Of the foreground of both volumes, per component; what lies outside is shown as the end of the scale.
_PERCENTILES = (1.0, 99.0)

Values = NDArray[np.floating]


def draw_features(
    path: Path,
    fixed: Values,
    moving: Values,
    fixed_weight: Values,
    moving_weight: Values,
    spacing_mm: Sequence[float],
    *,
    title: str = "",
    affine: Values | None = None,
    moving_affine: Values | None = None,
) -> None:
    """Write a PNG of the three leading components of two feature volumes as red, green and blue.

    One scale per component for both volumes; the background is black. A row per anatomical plane, through the
    middle of both foregrounds, at the same place in both volumes.

    Args:
        path: `.png`; there whole or not at all.
        fixed: (C, I, J, K), C >= 3, leading component first; axes of size 1 are legal.
        moving: (C', I, J, K), of the same encoding.
        fixed_weight: (I, J, K) in [0, 1], the share of each cell that is foreground.
        moving_weight: (I, J, K).
        spacing_mm: cell size along each array axis, mm.
        title: first line, such as the case.
        affine: (4, 4) index -> RAS mm of the fixed image, to turn the planes and to letter its panels; None
            takes the axes as right, anterior, superior.
        moving_affine: (4, 4) index -> RAS mm of the moving image, to letter its panels; None leaves them
            without.

    Raises:
        ValueError: shapes or spacing do not fit.
        OutputError: the file cannot be written.
    """
    spacing = tuple(float(size) for size in spacing_mm)
    _check(fixed, moving, fixed_weight, moving_weight, spacing)
    colours = joint_colours(fixed, moving, fixed_weight, moving_weight)
    centre = choose_centre(fixed_weight + moving_weight)
    views = make_views(centre, fixed_weight.shape, spacing, affine)
    figure = _draw(colours, views, title, moving_affine)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, facecolor=style.BACKGROUND)


def joint_colours(
    fixed: Values, moving: Values, fixed_weight: Values, moving_weight: Values
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale the three leading components of both volumes to [0, 1] together.

    Args:
        fixed: (C, I, J, K), C >= 3.
        moving: (C', I, J, K).
        fixed_weight: (I, J, K) in [0, 1]; colours fade to black with it.
        moving_weight: (I, J, K).

    Returns:
        (I, J, K, 3) each.
    """
    volumes, weights = (fixed[:3], moving[:3]), (fixed_weight, moving_weight)
    foreground = np.concatenate([v[:, w > 0.5] for v, w in zip(volumes, weights, strict=True)], axis=1)
    if foreground.shape[1] == 0:
        foreground = np.zeros((3, 1))
    low, high = np.percentile(foreground, _PERCENTILES, axis=1)
    width = np.where(high > low, high - low, 1.0)

    def one(values: Values, weight: Values) -> NDArray[np.float64]:
        scaled = np.clip((np.moveaxis(values, 0, -1) - low) / width, 0, 1)
        return np.asarray(scaled * np.clip(weight, 0, 1)[..., None], dtype=np.float64)

    return one(volumes[0], weights[0]), one(volumes[1], weights[1])


def _draw(
    colours: Sequence[NDArray[np.float64]],
    views: Sequence[View],
    title: str,
    moving_affine: Values | None,
) -> Figure:
    heights = [
        min(style.COLUMN_INCHES * view.size_mm[1] / view.size_mm[0], 1.6 * style.COLUMN_INCHES)
        for view in views
    ]
    width = style.LEFT_INCHES + 2 * (style.COLUMN_INCHES + style.GAP_INCHES)
    height = style.HEADER_INCHES + sum(heights) + style.GAP_INCHES * (len(views) - 1) + _FOOTER_INCHES
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=style.BACKGROUND)
    FigureCanvasAgg(figure)  # attaches itself: no window system, no state of pyplot
    grid = GridSpec(
        len(views),
        2,
        figure,
        left=style.LEFT_INCHES / width,
        right=1 - style.GAP_INCHES / width,
        bottom=_FOOTER_INCHES / height,
        top=1 - style.HEADER_INCHES / height,
        wspace=style.GAP_INCHES / style.COLUMN_INCHES,
        hspace=style.GAP_INCHES * len(views) / sum(heights),
        height_ratios=heights,
    )
    for row, view in enumerate(views):
        for column, (name, volume) in enumerate(zip(("fixed", "moving"), colours, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            panels.prepare(axes, view, view.edges if name == "fixed" else view.edges_of(moving_affine))
            axes.imshow(view.take(volume), origin="lower", extent=view.extent_mm, interpolation="nearest")
            if row == 0:
                axes.set_title(name, color=style.TEXT, fontsize=10, pad=5)
            if column == 0:
                axes.set_ylabel(view.caption, color=style.TEXT, fontsize=10, labelpad=4)
    x = style.LEFT_INCHES / width
    figure.text(x, 1 - 0.14 / height, title, color=style.TEXT, fontsize=13, weight="bold", va="top")
    note = "red, green, blue: components 1, 2, 3, one scale for both"
    figure.text(x, 0.12 / height, note, color=style.FAINT_TEXT, fontsize=8, va="bottom")
    return figure


def _check(
    fixed: Values, moving: Values, fixed_weight: Values, moving_weight: Values, spacing_mm: tuple[float, ...]
) -> None:
    shape = fixed_weight.shape
    if len(shape) != 3 or len(spacing_mm) != 3 or not all(size > 0 for size in spacing_mm):
        raise ValueError(f"expected (I, J, K) and 3 spacings above 0, got {shape} and {spacing_mm}")
    if moving_weight.shape != shape:
        raise ValueError(f"weight of moving: expected shape {shape}, got {moving_weight.shape}")
    for name, values in (("fixed", fixed), ("moving", moving)):
        if values.ndim != 4 or values.shape[0] < 3 or values.shape[1:] != shape:
            raise ValueError(
                f"{name}: expected shape (3 or more, {', '.join(map(str, shape))}), got {values.shape}"
            )
