"""Which slices of two volumes look alike, and the shift that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from dinoreg.report import style
from regtask.atomic import atomic_path

_DPI = 110
_WIDTH_INCHES = 6.6
_HEADER_INCHES = 1.05
_FOOTER_INCHES = 0.75
_LEFT_INCHES = 0.75
_RIGHT_INCHES = 1.55
_DISTANCE_MAP = "viridis_r"  # what looks alike is bright
_NOT_COMPARED = "#2a2d31"
_PAIR = style.LABEL_COLOURS[2]


@dataclass(frozen=True, slots=True, eq=False)
class SliceComparison:
    """Two stacks of slices and how much they differ.

    Attributes:
        distances: (n, m), fixed by moving.
        fixed_at: (n,) ascending voxel indices of the slices of fixed.
        moving_at: (m,) likewise.
        fixed_valid: (n,) bool, slices that took part.
        moving_valid: (m,) bool.
        spacing_mm: voxel size across the slices.
        axis: array axis across the slices, for the labels.
    """

    distances: NDArray[np.floating]
    fixed_at: NDArray[np.floating]
    moving_at: NDArray[np.floating]
    fixed_valid: NDArray[np.bool_]
    moving_valid: NDArray[np.bool_]
    spacing_mm: float
    axis: int

    def closest_pairs(self, count: int) -> NDArray[np.intp]:
        """Return the (p, 2) rows and columns of the smallest distances that took part, p <= count."""
        allowed = self.fixed_valid[:, None] & self.moving_valid[None, :]
        ranked = np.argsort(np.where(allowed, self.distances, np.inf), axis=None, kind="stable")
        chosen = ranked[: min(count, int(allowed.sum()))]
        return np.stack(np.unravel_index(chosen, self.distances.shape), axis=1)


def draw_slices(
    path: Path,
    slices: SliceComparison,
    pairs: NDArray[np.integer],
    shift: float,
    *,
    title: str = "",
) -> None:
    """Write a PNG of the distances of all slices, the chosen pairs and the line of the shift.

    Moving runs to the right, fixed upwards, in voxel indices (left, bottom) and mm (right, top); the line is
    moving = fixed + shift.

    Args:
        path: `.png`; there whole or not at all.
        slices: what was compared.
        pairs: (p, 2) rows and columns of the pairs that decided; p may be 0.
        shift: fixed to moving, voxels.
        title: first line, such as the case.

    Raises:
        ValueError: shapes do not fit.
        OutputError: the file cannot be written.
    """
    _check(slices, pairs)
    rows, columns = _edges(slices.fixed_at), _edges(slices.moving_at)
    panel = _WIDTH_INCHES - _LEFT_INCHES - _RIGHT_INCHES
    tall = panel * min(1.6, max(0.5, float(np.ptp(rows) / np.ptp(columns))))
    height = _HEADER_INCHES + tall + _FOOTER_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=_DPI, facecolor=style.BACKGROUND)
    FigureCanvasAgg(figure)  # attaches itself: no window system, no state of pyplot
    axes = figure.add_axes(
        (_LEFT_INCHES / _WIDTH_INCHES, _FOOTER_INCHES / height, panel / _WIDTH_INCHES, tall / height)
    )
    mesh = _draw_distances(axes, slices, rows, columns)
    handles = _draw_match(axes, slices, pairs, shift)
    _label(axes, slices)
    bar_axes = figure.add_axes(
        (1 - 0.72 / _WIDTH_INCHES, _FOOTER_INCHES / height, 0.12 / _WIDTH_INCHES, tall / height)
    )
    bar: Any = figure.colorbar(mesh, cax=bar_axes)
    bar.outline.set_visible(False)
    bar_axes.tick_params(colors=style.FAINT_TEXT, labelsize=8, length=2, pad=2)
    bar_axes.set_title("distance", color=style.FAINT_TEXT, fontsize=8, pad=5)
    x = _LEFT_INCHES / _WIDTH_INCHES
    figure.text(x, 1 - 0.14 / height, title, color=style.TEXT, fontsize=13, weight="bold", va="top")
    found = f"shift along {'ijk'[slices.axis]}: {shift:+.1f} slices, {shift * slices.spacing_mm:+.1f} mm"
    figure.text(x, 1 - 0.4 / height, found, color=style.FAINT_TEXT, fontsize=9, va="top")
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(x, 0.08 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        labelcolor=style.TEXT,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.2,
        handlelength=1.6,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, facecolor=style.BACKGROUND)


def _draw_distances(
    axes: Axes, slices: SliceComparison, rows: NDArray[np.floating], columns: NDArray[np.floating]
) -> Any:
    allowed = slices.fixed_valid[:, None] & slices.moving_valid[None, :]
    shown = np.ma.masked_where(~allowed, slices.distances)
    limits = (float(shown.min()), float(shown.max())) if allowed.any() else (0.0, 1.0)
    axes.set_facecolor(_NOT_COMPARED)
    mesh = axes.pcolormesh(columns, rows, shown, cmap=_DISTANCE_MAP, vmin=limits[0], vmax=limits[1])
    axes.set_xlim(columns[0], columns[-1])
    axes.set_ylim(rows[0], rows[-1])
    return mesh


def _draw_match(axes: Axes, slices: SliceComparison, pairs: NDArray[np.integer], shift: float) -> list[Any]:
    ends = np.array(axes.get_ylim())
    (none,) = axes.plot(ends, ends, color=style.TEXT, linewidth=0.8, linestyle="dotted", label="no shift")
    (line,) = axes.plot(ends + shift, ends, color=_PAIR, linewidth=1.4, label="shift")
    marks = axes.scatter(
        slices.moving_at[pairs[:, 1]],
        slices.fixed_at[pairs[:, 0]],
        s=34,
        facecolors="none",
        edgecolors=_PAIR,
        linewidths=1.4,
        zorder=3,
        label=f"{len(pairs)} chosen pairs",
    )
    return [marks, line, none, Patch(color=_NOT_COMPARED, label="took no part")]


def _label(axes: Axes, slices: SliceComparison) -> None:
    spacing = slices.spacing_mm
    in_mm = (lambda index: index * spacing, lambda mm: mm / spacing)
    top = axes.secondary_xaxis("top", functions=in_mm)
    right = axes.secondary_yaxis("right", functions=in_mm)
    axes.set_xlabel(f"moving, {'ijk'[slices.axis]}", color=style.TEXT, fontsize=9)
    axes.set_ylabel(f"fixed, {'ijk'[slices.axis]}", color=style.TEXT, fontsize=9)
    top.set_xlabel("moving, mm", color=style.FAINT_TEXT, fontsize=8)
    right.set_ylabel("fixed, mm", color=style.FAINT_TEXT, fontsize=8)
    for beside in (top, right):
        beside.set_facecolor("none")  # a sliver of it would show as a white line
    for part, colour in ((axes, style.TEXT), (top, style.FAINT_TEXT), (right, style.FAINT_TEXT)):
        part.tick_params(colors=colour, labelsize=8, length=2, pad=2)
        for spine in part.spines.values():
            spine.set_visible(False)


def _edges(at: NDArray[np.floating]) -> NDArray[np.float64]:
    """Borders of the cells around ascending positions, (n + 1,)."""
    at = np.asarray(at, dtype=np.float64)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])


def _check(slices: SliceComparison, pairs: NDArray[np.integer]) -> None:
    n, m = slices.distances.shape
    for name, array, size in (
        ("fixed_at", slices.fixed_at, n),
        ("fixed_valid", slices.fixed_valid, n),
        ("moving_at", slices.moving_at, m),
        ("moving_valid", slices.moving_valid, m),
    ):
        if array.shape != (size,):
            raise ValueError(f"{name}: expected shape {(size,)}, got {array.shape}")
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"pairs: expected shape (p, 2), got {pairs.shape}")
