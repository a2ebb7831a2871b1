"""One picture per registered pair: the images, their agreement, and what the field does.

Convention: arrays in NIfTI index order; pull field, voxels of the fixed grid, identity not included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from dinoreg.report import footer, panels, style
from dinoreg.report.content import choose_centre, grey_window
from dinoreg.report.determinant import jacobian_determinant
from dinoreg.report.grid_lines import deformed_grid
from dinoreg.report.views import View, make_views
from regtask.atomic import atomic_path

_COLUMNS = (
    "fixed",
    "moving",
    "warped",
    "fixed (cool) | warped (warm)",
    "deformed grid",
    "Jacobian determinant",
)
_DPI = 110
# The colour scale of displacements reaches at least so far, or rounding errors would look like motion.
_SHORTEST_SCALE_MM = 1.0

Image = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """What the picture shows: images and labels (I, J, K) by role, and the field."""

    images: dict[str, Image]
    labels: dict[str, Labels | None]
    field: NDArray[np.floating]
    determinant: NDArray[np.float32]
    spacing_mm: tuple[float, ...]
    windows: dict[str, tuple[float, float]]
    longest_mm: float
    moving_affine: NDArray[np.floating] | None
    no_data: NDArray[np.bool_] | None


def draw_pair(
    path: Path,
    fixed: Image,
    moving: Image,
    warped: Image,
    field: NDArray[np.floating],
    spacing_mm: Sequence[float],
    *,
    fixed_labels: Labels | None = None,
    warped_labels: Labels | None = None,
    moving_labels: Labels | None = None,
    label_names: Mapping[int, str] = MappingProxyType({}),
    title: str = "",
    affine: NDArray[np.floating] | None = None,
    moving_affine: NDArray[np.floating] | None = None,
    no_data: NDArray[np.bool_] | None = None,
) -> None:
    """Write a PNG of a registration: a row per anatomical plane, a column per question.

    Columns: fixed, moving, warped, a checkerboard of fixed and warped, the grid x + u(x) coloured by |u|, and
    the Jacobian determinant with folds in a signal colour. The planes go through what can be seen best; each
    image has its own robust grey window, the warped image that of the moving one.

    Args:
        path: `.png`; there whole or not at all.
        fixed: (I, J, K), any intensity unit; axes of size 1 are legal (one row for a 2D image).
        moving: (I, J, K).
        warped: (I, J, K), `moving` on the fixed grid.
        field: (I, J, K, 3) voxels of the fixed grid.
        spacing_mm: voxel size along each array axis, mm.
        fixed_labels: (I, J, K), outlined on `fixed`, the determinant and, solid, on the checkerboard.
        warped_labels: (I, J, K), outlined on `warped` and, dashed, on the checkerboard.
        moving_labels: (I, J, K), outlined on `moving`.
        label_names: label -> name for the legend.
        title: first line, such as the case.
        affine: (4, 4) index -> RAS mm of `fixed`, to turn the planes the way radiologists look at them and to
            letter the edges of all panels but that of `moving`; None takes the axes as right, anterior,
            superior.
        moving_affine: (4, 4) index -> RAS mm of `moving`, to letter its panel; None leaves it without.
        no_data: (I, J, K), voxels of `warped` that the moving image has no data for: hatched there and on the
            checkerboard.

    Raises:
        ValueError: shapes or spacing do not fit.
        OutputError: the file cannot be written.
    """
    spacing = tuple(float(size) for size in spacing_mm)
    images = {"fixed": fixed, "moving": moving, "warped": warped}
    labels = {"fixed": fixed_labels, "moving": moving_labels, "warped": warped_labels}
    _check(images, {**labels, "no data": no_data}, field, spacing)
    lengths_mm = np.linalg.norm(field * np.asarray(spacing, dtype=field.dtype), axis=-1)
    moving_window = grey_window(moving)
    content = _Content(
        images=images,
        labels=labels,
        field=field,
        determinant=jacobian_determinant(field),
        spacing_mm=spacing,
        windows={"fixed": grey_window(fixed), "moving": moving_window, "warped": moving_window},
        longest_mm=max(float(np.percentile(lengths_mm, 99.5)), _SHORTEST_SCALE_MM),
        moving_affine=moving_affine,
        no_data=no_data,
    )
    views = make_views(choose_centre(fixed, fixed_labels), fixed.shape, spacing, affine)
    figure = _draw(content, views, title, _summary(content, lengths_mm, views), label_names)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, facecolor=style.BACKGROUND)


def _draw(
    content: _Content, views: Sequence[View], title: str, summary: str, names: Mapping[int, str]
) -> Figure:
    heights = [style.COLUMN_INCHES * view.size_mm[1] / view.size_mm[0] for view in views]
    heights = [min(height, 1.6 * style.COLUMN_INCHES) for height in heights]
    width = style.LEFT_INCHES + len(_COLUMNS) * (style.COLUMN_INCHES + style.GAP_INCHES)
    body = sum(heights) + style.GAP_INCHES * (len(views) - 1)
    height = style.HEADER_INCHES + body + style.FOOTER_INCHES
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=style.BACKGROUND)
    FigureCanvasAgg(figure)  # attaches itself: no window system, no state of pyplot
    grid = GridSpec(
        len(views),
        len(_COLUMNS),
        figure,
        left=style.LEFT_INCHES / width,
        right=1 - style.GAP_INCHES / width,
        bottom=style.FOOTER_INCHES / height,
        top=1 - style.HEADER_INCHES / height,
        wspace=style.GAP_INCHES / style.COLUMN_INCHES,
        hspace=style.GAP_INCHES * len(views) / sum(heights),
        height_ratios=heights,
    )
    scales: list[ScalarMappable] = []
    for row, view in enumerate(views):
        cells = [figure.add_subplot(grid[row, column]) for column in range(len(_COLUMNS))]
        scales = _draw_row(cells, content, view)
        if row == 0:
            for axes, name in zip(cells, _COLUMNS, strict=True):
                axes.set_title(name, color=style.TEXT, fontsize=10, pad=5)
        cells[0].set_ylabel(view.caption, color=style.TEXT, fontsize=10, labelpad=4)
    x = style.LEFT_INCHES / width
    figure.text(x, 1 - 0.14 / height, title, color=style.TEXT, fontsize=13, weight="bold", va="top")
    figure.text(x, 1 - 0.38 / height, summary, color=style.FAINT_TEXT, fontsize=9, va="top")
    footer.draw_scales(figure, scales)
    footer.draw_legend(figure, content.labels.values(), names, hatched=_any(content.no_data))
    return figure


def _draw_row(cells: Sequence[Axes], content: _Content, view: View) -> list[ScalarMappable]:
    """Draw one plane; returns what the colour bars of the grid and of the determinant belong to."""
    for column, axes in enumerate(cells):
        own = view.edges_of(content.moving_affine) if _COLUMNS[column] == "moving" else view.edges
        panels.prepare(axes, view, own if column < 4 else "")
    for axes, (role, image) in zip(cells, content.images.items(), strict=False):
        panels.draw_grey(axes, view.take(image), content.windows[role], view)
        _outline(axes, content.labels[role], view)
    panels.draw_checkerboard(
        cells[3],
        view.take(content.images["fixed"]),
        view.take(content.images["warped"]),
        (content.windows["fixed"], content.windows["warped"]),
        view,
    )
    if content.no_data is not None:
        for axes in cells[2:4]:
            panels.draw_hatching(axes, view.take(content.no_data), view)
    _outline(cells[3], content.labels["fixed"], view)
    _outline(cells[3], content.labels["warped"], view, dashed=True)
    _outline(cells[5], content.labels["fixed"], view, width=0.6)
    lines = deformed_grid(content.field, content.spacing_mm, view)
    return [
        panels.draw_grid(cells[4], lines, content.longest_mm),
        panels.draw_determinant(cells[5], view.take(content.determinant), view),
    ]


def _any(mask: NDArray[np.bool_] | None) -> bool:
    return mask is not None and bool(mask.any())


def _outline(
    axes: Axes, labels: Labels | None, view: View, *, dashed: bool = False, width: float = 1.1
) -> None:
    if labels is not None:
        panels.draw_contours(axes, view.take(labels), view, dashed=dashed, width=width)


def _summary(content: _Content, lengths_mm: NDArray[np.floating], views: Sequence[View]) -> str:
    shape = " x ".join(str(size) for size in lengths_mm.shape)
    spacing = " x ".join(f"{size:.3g}" for size in content.spacing_mm)
    folds = 100 * float(np.mean(content.determinant <= 0))
    median, longest = float(np.median(lengths_mm)), float(lengths_mm.max())
    return (
        f"{shape} voxels of {spacing} mm    |u| median {median:.1f} mm, largest {longest:.1f} mm    "
        f"folds {folds:.3f}% of all voxels"
        + ("" if all(view.edges for view in views) else "    orientation unknown: axes taken as R, A, S")
    )


def _check(
    images: dict[str, Image],
    maps: Mapping[str, NDArray[Any] | None],
    field: NDArray[np.floating],
    spacing_mm: tuple[float, ...],
) -> None:
    shape = images["fixed"].shape
    if len(shape) != 3 or len(spacing_mm) != 3 or not all(size > 0 for size in spacing_mm):
        raise ValueError(f"expected (I, J, K) and 3 spacings above 0, got {shape} and {spacing_mm}")
    if field.shape != (*shape, 3):
        raise ValueError(f"field: expected shape {(*shape, 3)}, got {field.shape}")
    for name, array in (*images.items(), *((f"{role} labels", array) for role, array in maps.items())):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
