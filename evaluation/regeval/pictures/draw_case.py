"""One case as a picture: the moving image before and after warping, and the fixed image, in one slice.

Convention: pull, warped(x) = moving(x + u(x)); u in voxels of the fixed grid. Moving and fixed image have one
lattice, as in Learn2Reg.
"""

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from regeval.inputs.ground_truth import Labels, Truth
from regeval.metrics.warp import warp_labels
from regeval.pictures.focus import Focus, focus_on
from regeval.pictures.outlines import outline
from regeval.pictures.png import png_address
from regeval.pictures.section import Section
from regtask.images import Volume, read_volume
from regtask.pair import Pair

_SIDE = 240.0  # of the longer side of a panel, in the picture's units
_MOST_PIXELS = 320  # along a side: more than that nobody sees
_PERCENTILES = (0.5, 99.5)  # what becomes black and white
_ENOUGH = 100_000  # voxels that percentiles are taken of


@dataclass(frozen=True, slots=True)
class _Panel:
    """One image of the picture: its title, its pixels, the outlines of all labels and of the worst."""

    title: str
    image: str
    outlines: tuple[tuple[str, str, str], ...]


def draw_case(pair: Pair, truth: Truth, field: NDArray[np.float32], threads: int = 1) -> str:
    """Draw what a field does to a pair.

    Args:
        pair: its images are read.
        truth: what the field is judged by.
        field: (I, J, K, 3) voxels of the fixed grid.
        threads: how much is done at once; the picture does not depend on it.

    Returns:
        An SVG file that needs nothing else. It shows images and labels of the task, and no name of a team.

    Raises:
        DataError: an image cannot be read.
    """
    import jinja2

    fixed, moving = read_volume(pair.fixed), read_volume(pair.moving)
    section = Section.of(fixed.grid)
    warped = None if truth.labels is None else warp_labels(truth.labels[1], field, threads)
    focus = focus_on(truth, warped, field, section.axis)
    panels = _panels(section, focus, fixed, moving, field, truth.labels, warped)
    rows, columns = section.positions(fixed.grid.shape, focus.index).shape[:2]
    height, width = rows * section.pixel_mm[0], columns * section.pixel_mm[1]
    scale = _SIDE / max(height, width)
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string((resources.files("regeval.pictures") / "picture.svg.jinja").read_text("utf-8"))
    return template.render(
        panels=panels,
        width=round(width * scale, 1),
        height=round(height * scale, 1),
        across=round(width * scale / columns, 4),
        down=round(height * scale / rows, 4),
        cross=None if focus.point is None else _seen(section, fixed.grid.shape, focus.point),
        letters=section.letters,
        slice=f"{section.name} slice {focus.index + 1} of {fixed.grid.shape[section.axis]}",
        focus=focus.text,
        labels=truth.labels is not None,
    )


def _panels(
    section: Section,
    focus: Focus,
    fixed: Volume,
    moving: Volume,
    field: NDArray[np.float32],
    labels: tuple[Labels, Labels] | None,
    warped: Labels | None,
) -> list[_Panel]:
    index = focus.index
    black, white = _window(moving)
    positions = section.positions(fixed.grid.shape, index) + section.plane(field, index)
    # Beyond the image there is nothing to see, and nothing is repeated into it.
    after = map_coordinates(moving.data, np.moveaxis(positions, -1, 0), order=1, cval=black)
    planes = (
        ("moving, before", section.plane(moving.data, index), (black, white), labels and labels[1]),
        ("moving, warped", after, (black, white), warped),
        ("fixed", section.plane(fixed.data, index), _window(fixed), warped),
    )
    found = []
    for title, plane, window, theirs in planes:
        paths = []
        if labels is not None and theirs is not None:
            for role, one in (("target", labels[0]), ("result", theirs)):
                shown = section.plane(one, index)
                paths.append((role, outline(shown), outline(shown == focus.label)))
        found.append(_Panel(title, png_address(_grey(plane, *window)), tuple(paths)))
    return found


def _window(volume: Volume) -> tuple[float, float]:
    """Return the intensities that are shown black and white."""
    known = volume.data if volume.invalid is None else volume.data[~volume.invalid]
    values = known.ravel()[:: max(1, known.size // _ENOUGH)]
    black, white = np.percentile(values, _PERCENTILES).tolist()
    return black, white if white > black else black + 1


def _grey(plane: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    step = -(-max(plane.shape) // _MOST_PIXELS)
    shown = plane[::step, ::step]
    grey: NDArray[np.uint8] = np.rint(np.clip((shown - black) / (white - black), 0, 1) * 255).astype(np.uint8)
    return grey


def _seen(section: Section, shape: tuple[int, ...], point: tuple[float, ...]) -> tuple[float, float]:
    """Return where a point lies in the picture, in pixels: x to the right, y downwards."""
    down, right = (
        shape[axis] - 0.5 - point[axis] if turned else point[axis] + 0.5
        for axis, turned in zip((section.rows, section.columns), section.turned, strict=True)
    )
    return right, down
