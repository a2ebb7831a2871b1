"""The landmarks on template and frame, side by side, as an animated picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dinoreg.motion.cines.cine import Cine
from dinoreg.motion.track import Track, TrackedFrame
from dinoreg.report import style
from regtask.atomic import atomic_path

_DPI = 80
_MILLISECONDS = 100
_FLAGGED = style.FOLD


def draw_animation(path: Path, cine: Cine, tracked: Track) -> None:
    """Write a GIF: left the template, right each frame, a landmark of one colour on both.

    Lines on the right lead from where a landmark lies in the template; outlines are the target's.

    Raises:
        OutputError: the file cannot be written.
    """
    low, high = np.percentile(cine.frames[tracked.template], (1, 99))
    pictures = [
        Image.fromarray(_picture(cine, tracked, frame, float(low), float(high))) for frame in tracked.frames
    ]
    with atomic_path(path) as temporary:
        pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=_MILLISECONDS, loop=0)


def _picture(cine: Cine, tracked: Track, frame: TrackedFrame, low: float, high: float) -> NDArray[np.uint8]:
    figure = Figure(figsize=(8, 4.3), dpi=_DPI, facecolor=style.BACKGROUND, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    template = tracked.frames[tracked.template]
    for axes, shown, title in (
        (left, template, f"template, frame {template.number}"),
        (right, frame, f"frame {frame.number}" + (f": {frame.flag}" if frame.flag else "")),
    ):
        image = cine.frames[shown.number]
        extent_mm = _extent_mm(image.shape, cine.spacing_mm)
        axes.imshow(image.T, cmap="gray", vmin=low, vmax=high, extent=extent_mm, interpolation="nearest")
        if shown.labels is not None and shown.labels.any():
            axes.contour(
                (shown.labels.T > 0).astype(float),
                levels=[0.5],
                colors=[style.LABEL_COLOURS[0]],
                linewidths=0.8,
                extent=extent_mm,
                origin="upper",
            )
        axes.set_title(title, color=_FLAGGED if shown.flag else style.TEXT, fontsize=9)
        _frame_window(axes, tracked)
    _scatter(left, template.landmarks_mm)
    starts, ends = template.landmarks_mm.numpy(), frame.landmarks_mm.numpy()
    right.plot(
        np.stack([starts[:, 0], ends[:, 0]]),
        np.stack([starts[:, 1], ends[:, 1]]),
        color=style.FAINT_TEXT,
        linewidth=0.7,
    )
    _scatter(right, frame.landmarks_mm)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return picture


def _scatter(axes: Axes, landmarks_mm: Tensor) -> None:
    points = landmarks_mm.numpy()
    axes.scatter(
        points[:, 0], points[:, 1], c=np.arange(len(points)), cmap=colormaps["hsv"], s=9, linewidths=0
    )


def _frame_window(axes: Axes, tracked: Track) -> None:
    square = tracked.square
    x, y = (c * size for c, size in zip(square.centre, square.spacing_mm, strict=True))
    axes.set_xlim(x - square.half_mm, x + square.half_mm)
    axes.set_ylim(y + square.half_mm, y - square.half_mm)
    axes.set_axis_off()


def _extent_mm(shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> tuple[float, float, float, float]:
    (x, y), (width, height) = shape, spacing_mm
    return (-0.5 * width, (x - 0.5) * width, (y - 0.5) * height, -0.5 * height)
