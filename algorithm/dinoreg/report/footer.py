"""The bottom of a picture: what its colours and lines mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from dinoreg.report import style


def draw_scales(figure: Figure, scales: Sequence[ScalarMappable]) -> None:
    """Put a colour bar under each of the last two columns."""
    width, height = figure.get_size_inches()
    for column, scale, name in zip((4, 5), scales, ("|u| in mm", "< 1 shrinks, > 1 grows"), strict=True):
        left = (
            style.LEFT_INCHES + column * (style.COLUMN_INCHES + style.GAP_INCHES) + 0.15 * style.COLUMN_INCHES
        )
        box = (left / width, 0.42 / height, 0.7 * style.COLUMN_INCHES / width, 0.1 / height)
        axes = figure.add_axes(box)
        bar: Any = figure.colorbar(scale, cax=axes, orientation="horizontal")
        if column == 5:
            bar.set_ticks(list(style.JACOBIAN_TICKS), labels=list(style.JACOBIAN_TICKS.values()))
            bar.minorticks_off()
        bar.outline.set_visible(False)
        axes.tick_params(colors=style.FAINT_TEXT, labelsize=8, length=2, pad=2)
        axes.set_title(name, color=style.FAINT_TEXT, fontsize=8, pad=3)


def draw_legend(
    figure: Figure,
    label_maps: Iterable[NDArray[np.integer] | None],
    names: Mapping[int, str],
    *,
    hatched: bool = False,
) -> None:
    """Name the labels, the two kinds of outline, the signal colour and the hatching, at the bottom left."""
    present: set[int] = set()
    for array in label_maps:
        if array is not None:
            present.update(int(label) for label in np.unique(array) if label > 0)
    handles: list[Any] = []
    if len(present) > style.MANY_LABELS:
        handles.append(Line2D([], [], color=style.label_colour(1), label=f"{len(present)} labels"))
    elif present:
        handles += [
            Line2D([], [], color=style.label_colour(n), label=names.get(n, f"label {n}"))
            for n in sorted(present)
        ]
    if present:
        handles.append(Line2D([], [], color=style.FAINT_TEXT, label="fixed"))
        handles.append(Line2D([], [], color=style.FAINT_TEXT, linestyle="dashed", label="warped"))
    handles.append(Patch(color=style.FOLD, label="fold"))
    if hatched:
        handles.append(
            Patch(
                facecolor="none", edgecolor=style.HATCH, hatch="/////", linewidth=0, label="no data of moving"
            )
        )
    _, height = figure.get_size_inches()
    figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(style.LEFT_INCHES / figure.get_size_inches()[0], 0.36 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=style.TEXT,
        handlelength=1.6,
        columnspacing=1.4,
        borderpad=0,
        borderaxespad=0,
    )
