"""Shapes of random anatomy, each a level that is negative inside, drawn into a label volume in place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dinoreg.pretrain.anatomy.labels import Kind, LabelVolume
from dinoreg.pretrain.anatomy.noise import noise_array

Floats = NDArray[np.float32]
Box = tuple[slice, slice, slice]
_FULL = 255  # ids that fit


@dataclass(slots=True, eq=False)
class Canvas:
    """A label volume in the making.

    Attributes:
        ids: (I, J, K) uint8.
        kinds: kind of each id given out so far.
        cavity: (I, J, K) bool, where organs may be.
    """

    ids: NDArray[np.uint8]
    kinds: list[Kind] = field(default_factory=lambda: [Kind.AIR])
    cavity: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.cavity = np.ones(self.ids.shape, bool)

    def new_id(self, kind: Kind) -> int:
        """Return an id that nothing has yet; the last one again when all are given out."""
        if len(self.kinds) < _FULL:
            self.kinds.append(kind)
        return len(self.kinds) - 1

    def fill(self, box: Box, inside: NDArray[np.bool_], kind: Kind) -> None:
        """Give a new structure the voxels of a box that are inside."""
        self.ids[box][inside] = self.new_id(kind)

    def finish(self, spacing_mm: float) -> LabelVolume:
        """Return the label volume."""
        return LabelVolume(self.ids, np.array(self.kinds, np.uint8), spacing_mm, oriented=False)


def positions(box: Box, centre: Floats) -> Floats:
    """Return where the voxels of a box lie relative to a centre, (i, j, k, 3) voxels."""
    axes = [
        np.arange(s.start, s.stop, dtype=np.float32) - np.float32(c) for s, c in zip(box, centre, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def box_around(shape: tuple[int, ...], lower: Floats, upper: Floats) -> Box | None:
    """Return the voxels between two corners, or None where there are none."""
    bounds = [
        (max(0, int(np.floor(a))), min(n, int(np.ceil(b)) + 1))
        for a, b, n in zip(lower, upper, shape, strict=True)
    ]
    if any(stop - start < 2 for start, stop in bounds):
        return None
    i, j, k = (slice(*b) for b in bounds)
    return i, j, k


def organ(canvas: Canvas, centre: Floats, radii: Floats, kinds: list[Kind], rng: np.random.Generator) -> None:
    """Draw an organ: a turned ellipsoid with a lumpy surface and, inside it, a layer for every further kind.

    Args:
        canvas: drawn into.
        centre: (3,) voxels.
        radii: (3,) voxels.
        kinds: from the outside to the inside.
        rng: source of direction, lumps and thickness.
    """
    reach = 1.5 * float(radii.max())
    box = box_around(canvas.ids.shape, centre - reach, centre + reach)
    if box is None:
        return
    turned = positions(box, centre) @ Rotation.random(random_state=rng).as_matrix().astype(np.float32) / radii
    level = np.linalg.norm(turned, axis=-1) - 1
    size = level.shape
    level += rng.uniform(0.05, 0.3) * noise_array(size, rng.uniform(0.4, 1.0) * float(radii.mean()) + 2, rng)
    if rng.random() < 0.4:  # hollowed by a neighbour
        notch = rng.normal(size=3).astype(np.float32)
        notch *= rng.uniform(0.7, 1.2) / np.linalg.norm(notch)
        level = np.maximum(level, rng.uniform(0.4, 0.8) - np.linalg.norm(turned - notch, axis=-1))
    level[~canvas.cavity[box]] = 1
    depth = 0.0
    for kind in kinds:
        canvas.fill(box, level < -depth, kind)
        depth += rng.uniform(0.1, 0.4)


def tube(canvas: Canvas, path: Floats, kinds: list[Kind], wall: float = 0.6) -> None:
    """Draw a tube along a path.

    Args:
        canvas: drawn into.
        path: (N, 4), x, y, z and radius in voxels, dense.
        kinds: of the wall, and of what is inside it if there are two.
        wall: radius of the inside relative to the whole.
    """
    widest = float(path[:, 3].max()) + 1
    box = box_around(canvas.ids.shape, path[:, :3].min(axis=0) - widest, path[:, :3].max(axis=0) + widest)
    if box is None:
        return
    points = positions(box, np.zeros(3, np.float32))
    tree = cKDTree(path[:, :3])
    distance, nearest = tree.query(points.reshape(-1, 3), distance_upper_bound=widest, workers=1)
    radius = np.append(path[:, 3], 0)[nearest]
    relative = (distance / np.maximum(radius, 1e-3)).reshape(points.shape[:3])
    relative[~canvas.cavity[box]] = np.inf
    for kind, limit in zip(kinds, (1.0, wall), strict=False):
        canvas.fill(box, relative < limit, kind)


def wandering_path(
    start: Floats, heading: Floats, length: int, radius: float, bend: float, rng: np.random.Generator
) -> Floats:
    """Return a smooth random curve, (length, 4): a voxel a step, turning by about `bend` radians a step."""
    turns = np.cumsum(rng.normal(size=(length, 3)) * bend / 8, axis=0) + rng.normal(size=3) * bend
    directions = heading / np.linalg.norm(heading) + np.cumsum(turns, axis=0) * 0.5
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    taper = radius * np.linspace(1.0, rng.uniform(0.4, 1.0), length)
    return np.column_stack([start + np.cumsum(directions, axis=0), taper]).astype(np.float32)
