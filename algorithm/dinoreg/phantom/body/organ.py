"""An organ: a solid, the tissues it is made of from the surface inwards, and its landmarks."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dinoreg.phantom.body.shapes import Shape, Vector
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.points import Floats, PointSet

Tissues = NDArray[np.uint8]


def no_anchors() -> Floats:
    """Return an empty (0, 3) array."""
    return np.empty((0, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Organ:
    """A solid to be painted over what lies below it.

    Attributes:
        name: unique, snake_case.
        shape: the solid.
        layers: (depth in mm, tissue); a layer fills what lies deeper than its depth. Later ones win.
        within: paint only over these tissues; anywhere if empty.
        anchors: (M, 3) mm, points of this organ that an expert could find again.
        centre: mm, from where surface anchors are sought; none if None.
    """

    name: str
    shape: Shape
    layers: tuple[tuple[float, Tissue], ...]
    within: tuple[Tissue, ...] = ()
    anchors: Floats = field(default_factory=no_anchors)
    centre: Vector | None = None

    def paint(self, points: PointSet, tissues: Tissues) -> None:
        """Write the tissues of this organ into `tissues` (N,), the ids at `points`, in place."""
        if not self.shape.may_touch(points):
            return
        level = self.shape.level(points)
        free = np.isin(tissues, self.within) if self.within else None
        for depth, tissue in self.layers:
            inside = level < -depth
            tissues[inside if free is None else inside & free] = tissue


def surface_points(shape: Shape, centre: Vector, directions: Floats, reach_mm: float = 160.0) -> Floats:
    """Find where rays from `centre` leave a solid.

    Args:
        shape: the solid; `centre` must lie inside, else nothing is found.
        centre: mm.
        directions: (D, 3) unit vectors.
        reach_mm: longest ray.

    Returns:
        (M, 3) mm, M <= D: the first crossing of each ray that has one, to 1e-3 mm.
    """
    steps = np.linspace(0.0, reach_mm, 81)
    start = np.asarray(centre)

    def level(distances: Floats, rays: Floats) -> Floats:
        return shape.level(PointSet.from_array(start + distances[:, None] * rays))

    grid = start + steps[:, None, None] * directions  # (steps, D, 3)
    outside = shape.level(PointSet.from_array(grid.reshape(-1, 3))).reshape(len(steps), -1) >= 0
    found = ~outside[0] & outside.any(axis=0)
    if not found.any():
        return no_anchors()
    rays = directions[found]
    first = outside[:, found].argmax(axis=0)
    low, high = steps[first - 1], steps[first]
    for _ in range(12):
        middle = 0.5 * (low + high)
        out = level(middle, rays) >= 0
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    crossings: Floats = start + low[:, None] * rays
    return crossings
