"""Random bodies: skin, fat and muscle around a cavity with organs, tubes, bowel and a skeleton; or a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dinoreg.pretrain.anatomy.labels import Kind, LabelVolume, Shape3
from dinoreg.pretrain.anatomy.noise import noise_array
from dinoreg.pretrain.anatomy.shapes import Canvas, Floats, organ, tube, wandering_path

_SOFT = (Kind.ORGAN, Kind.ORGAN, Kind.ORGAN, Kind.FLUID, Kind.BLOOD, Kind.MUSCLE, Kind.FAT, Kind.GAS)
_EVERYTHING: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Coordinates of a body.

    Attributes:
        radius: (I, J, K), 1 on the skin.
        along: (I, J, K) voxels along the long axis.
        side: (I, J, K) -1 to 1 across.
        size: (3,) semi-axes, voxels; the last is the long one.
    """

    radius: Floats
    along: Floats
    side: Floats
    size: Floats


def random_body(shape: Shape3, rng: np.random.Generator) -> LabelVolume:
    """Draw an anatomy that resembles none, of a random size in millimetres.

    Args:
        shape: voxels along each axis.
        rng: source of everything.
    """
    canvas = Canvas(np.zeros(shape, np.uint8))
    frame = _frame(shape, rng)
    _layers(canvas, frame, rng)
    if rng.random() < 0.35:
        _folded_layers(canvas, frame, rng)
    for _ in range(rng.integers(6, 24)):
        radii = np.exp(rng.uniform(np.log(0.05), np.log(0.4))) * min(shape) * rng.uniform(0.5, 1.2, size=3)
        kinds = [Kind(int(rng.choice(_SOFT))) for _ in range(rng.integers(1, 4))]
        organ(canvas, _place(canvas, rng), radii.astype(np.float32), kinds, rng)
    for _ in range(rng.integers(0, 3)):  # bowel: wide, winding, with content
        _wander(canvas, rng, radius=(3, 8), bend=0.25, kinds=[Kind.MUSCLE, Kind(int(rng.choice(_SOFT)))])
    for _ in range(rng.integers(5, 20)):  # vessels
        _wander(canvas, rng, radius=(0.8, 4), bend=0.08, kinds=[Kind.BLOOD])
    if rng.random() < 0.75:
        _skeleton(canvas, frame, rng)
    for _ in range(rng.integers(0, 8)):  # nodules
        radii = rng.uniform(1.5, 4, size=3).astype(np.float32)
        organ(canvas, _place(canvas, rng), radii, [Kind(int(rng.choice(_SOFT)))], rng)
    canvas.ids[frame.radius > 1] = 0
    return canvas.finish(float(np.exp(rng.uniform(np.log(0.7), np.log(3.0)))))


def _frame(shape: Shape3, rng: np.random.Generator) -> _Frame:
    half = np.array(shape, np.float32) / 2
    trunk = rng.random() < 0.6  # leaves the field of view along its axis
    size = half * rng.uniform(0.6, 1.05, size=3) * np.array([1, 1, 3 if trunk else 1])
    centre = half - 0.5 + rng.uniform(-0.1, 0.1, size=3) * half
    x, y, z = (
        ((np.arange(n, dtype=np.float32) - c) / s).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, c, s) in enumerate(zip(shape, centre, size, strict=True))
    )
    power = rng.uniform(1.8, 3.0)
    radius = (np.abs(x) ** power + np.abs(y) ** power + np.abs(z) ** power) ** (1 / power)
    radius = radius + rng.uniform(0.02, 0.08) * noise_array(shape, 0.35 * min(shape), rng)
    along = np.broadcast_to(z * size[2], shape) + 4 * noise_array(shape, 0.5 * min(shape), rng)
    return _Frame(
        radius.astype(np.float32),
        along.astype(np.float32),
        np.broadcast_to(x, shape),
        size.astype(np.float32),
    )


def _layers(canvas: Canvas, frame: _Frame, rng: np.random.Generator) -> None:
    """Skin, fat, muscle, and what fills the cavity."""
    shape = canvas.ids.shape
    uneven = rng.uniform(0.0, 0.04) * noise_array(shape, 0.3 * min(shape), rng)
    edge = np.ones(shape, np.float32)
    for kind, thickness in (
        (Kind.MUSCLE, (0.01, 0.03)),
        (Kind.FAT, (0.01, 0.15)),
        (Kind.MUSCLE, (0.03, 0.12)),
    ):
        if rng.random() < 0.85:
            canvas.fill(_EVERYTHING, frame.radius < edge, kind)
            edge = edge - np.maximum(rng.uniform(*thickness) + uneven, 0.01)
    canvas.fill(
        _EVERYTHING, frame.radius < edge, Kind(int(rng.choice((Kind.FAT, Kind.FAT, Kind.MUSCLE, Kind.LUNG))))
    )
    canvas.cavity = frame.radius < edge


def _folded_layers(canvas: Canvas, frame: _Frame, rng: np.random.Generator) -> None:
    """Fill the cavity as a brain does a skull: nested layers whose borders are folded."""
    shape = canvas.ids.shape
    folds = rng.uniform(0.05, 0.14) * noise_array(shape, rng.uniform(6, 14), rng)
    folds += 0.08 * noise_array(shape, 0.3 * min(shape), rng)
    edge = rng.uniform(0.75, 0.95)
    for _ in range(rng.integers(2, 6)):
        kind = Kind(int(rng.choice((Kind.ORGAN, Kind.ORGAN, Kind.MUSCLE, Kind.FLUID, Kind.MARROW))))
        canvas.fill(_EVERYTHING, canvas.cavity & (frame.radius + folds < edge), kind)
        edge -= rng.uniform(0.05, 0.3)


def _skeleton(canvas: Canvas, frame: _Frame, rng: np.random.Generator) -> None:
    """A column of vertebrae with discs and a canal, and ribs or a skull around the cavity."""
    shape = canvas.ids.shape
    y_axis = np.arange(shape[1], dtype=np.float32).reshape(1, -1, 1)
    back = shape[1] * rng.uniform(0.2, 0.45)
    x = frame.side * frame.size[0]
    wobble = 3 * noise_array(shape, 0.6 * min(shape), rng)
    width = rng.uniform(0.05, 0.11) * shape[0]
    period = rng.uniform(1.2, 2.5) * width
    phase = np.mod(frame.along / period, 1.0)
    column = np.hypot(x + wobble, y_axis - back) / width
    inside = (column < 1) & (frame.radius < 0.95)
    disc = rng.uniform(0.1, 0.3)
    canvas.fill(_EVERYTHING, inside & (phase < disc), Kind.ORGAN)
    canvas.fill(_EVERYTHING, inside & (phase >= disc), Kind.BONE)
    canvas.fill(
        _EVERYTHING,
        (column < rng.uniform(0.7, 0.9)) & inside & (phase >= disc + 0.08) & (phase < 0.92),
        Kind.MARROW,
    )
    canal = np.hypot(x + wobble, y_axis - back + 1.3 * width) < 0.45 * width
    canvas.fill(_EVERYTHING, canal & (frame.radius < 0.97), Kind.FLUID)
    shell = np.abs(frame.radius - rng.uniform(0.78, 0.9)) < rng.uniform(0.015, 0.04)
    if rng.random() < 0.6:  # ribs
        slope = rng.uniform(0.0, 0.6) * shape[0] * np.abs(frame.side)
        shell &= np.mod((frame.along + slope) / (period * rng.uniform(0.8, 1.4)), 1.0) < rng.uniform(
            0.25, 0.5
        )
    if rng.random() < 0.7:
        canvas.fill(_EVERYTHING, shell, Kind.BONE)


def _wander(
    canvas: Canvas, rng: np.random.Generator, *, radius: tuple[float, float], bend: float, kinds: list[Kind]
) -> None:
    length = int(rng.uniform(0.4, 1.5) * max(canvas.ids.shape))
    path = wandering_path(
        _place(canvas, rng),
        rng.standard_normal(3, dtype=np.float32),
        length,
        float(rng.uniform(*radius)),
        bend,
        rng,
    )
    tube(canvas, path, kinds, wall=rng.uniform(0.5, 0.8))


def _place(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Return a voxel of the cavity, or the middle where the cavity is empty."""
    inside: NDArray[np.intp] = np.flatnonzero(canvas.cavity)
    if not inside.size:
        return (np.array(canvas.ids.shape) / 2).astype(np.float32)
    return np.array(np.unravel_index(rng.choice(inside), canvas.ids.shape), np.float32)
