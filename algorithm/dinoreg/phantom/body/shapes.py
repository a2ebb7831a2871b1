"""Smooth implicit shapes and their combination.

A shape is a level function in millimetres: negative inside, zero on the surface, close to the signed
distance near the surface, so that `level < -d` is the part deeper than about `d` millimetres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dinoreg.phantom.points import Floats, PointSet

Vector = tuple[float, float, float]
Level = Callable[[PointSet], Floats]

EVERYWHERE: tuple[Vector, Vector] = ((-np.inf,) * 3, (np.inf,) * 3)
FAR_MM = 1e3


@dataclass(frozen=True, slots=True)
class Shape:
    """A solid given by its level function.

    Attributes:
        level: PointSet of N points -> (N,) mm, negative inside; never negative outside the box.
        lower: corner of a box that holds the solid, mm. It only saves work: it does not cut.
        upper: the opposite corner, mm.
    """

    level: Level
    lower: Vector = EVERYWHERE[0]
    upper: Vector = EVERYWHERE[1]

    def may_touch(self, points: PointSet) -> bool:
        """Tell whether the box of the solid and the box of the points overlap."""
        return all(
            low <= shape_high and high >= shape_low
            for low, high, shape_low, shape_high in zip(
                points.lower, points.upper, self.lower, self.upper, strict=True
            )
        )

    def level_or_far(self, points: PointSet) -> Floats:
        """Return the level, (N,) mm, without computing it where the boxes do not overlap."""
        return self.level(points) if self.may_touch(points) else np.full(len(points), FAR_MM)


def common(*levels: Floats) -> Floats:
    """Return the level of what several solids have in common, from their levels, (N,) mm."""
    largest: Floats = np.maximum.reduce(levels)
    return largest


def either(*levels: Floats) -> Floats:
    """Return the level of what lies in any of several solids, from their levels, (N,) mm."""
    smallest: Floats = np.minimum.reduce(levels)
    return smallest


def _vector(values: Floats) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def rotation(axis: Vector, degrees: float) -> Floats:
    """Return the (3, 3) right-handed rotation about `axis` (Rodrigues' formula)."""
    u = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -u[2], u[1]], [u[2], 0, -u[0]], [-u[1], u[0], 0]])
    angle = np.deg2rad(degrees)
    turned: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turned


def ellipsoid(centre: Vector, semi_axes: Vector, turn: Floats | None = None) -> Shape:
    """Build an ellipsoid.

    Args:
        centre: mm.
        semi_axes: mm, along the axes before the turn.
        turn: (3, 3) rotation of the axes; none if omitted.
    """
    axes = np.eye(3) if turn is None else turn
    a = np.asarray(semi_axes)
    half = np.sqrt(((axes * a) ** 2).sum(axis=1))  # half size of the bounding box

    def level(p: PointSet) -> Floats:
        dx, dy, dz = p.x - centre[0], p.y - centre[1], p.z - centre[2]
        first = np.zeros(len(p))
        second = np.full(len(p), 1e-12)
        for k in range(3):
            local = (dx * axes[0, k] + dy * axes[1, k] + dz * axes[2, k]) / a[k]
            first += local * local
            second += (local / a[k]) ** 2
        radius = np.sqrt(first)
        distance: Floats = (radius - 1.0) * (radius + 1e-3) / (np.sqrt(second) + 1e-3 / float(a.min()))
        return distance

    return Shape(level, _vector(np.asarray(centre) - half), _vector(np.asarray(centre) + half))


def squircle_level(u: Floats, v: Floats, a: Floats | float, b: Floats | float, squareness: float) -> Floats:
    """Return the radial distance to a Fernandez-Guasti squircle, (N,) mm, negative inside.

    Args:
        u: (N,) mm from the centre along the first axis.
        v: (N,) mm from the centre along the second axis.
        a: half width, mm.
        b: half height, mm.
        squareness: 0 gives an ellipse, 1 a rectangle.
    """
    u2, v2 = (u / a) ** 2, (v / b) ** 2
    total = u2 + v2
    scaled = np.sqrt(0.5 * (total + np.sqrt(np.maximum(total**2 - 4 * squareness**2 * u2 * v2, 0.0))))
    radius = np.sqrt(u * u + v * v)
    level: Floats = (scaled - 1.0) * (radius + 1e-3) / (scaled + 1e-3 / np.maximum(a, b))
    return level


def union(*shapes: Shape) -> Shape:
    """Build the solid that holds every point of any of the shapes."""

    def level(p: PointSet) -> Floats:
        near = [shape.level(p) for shape in shapes if shape.may_touch(p)]
        return either(*near) if near else np.full(len(p), FAR_MM)

    lower = np.min([shape.lower for shape in shapes], axis=0)
    upper = np.max([shape.upper for shape in shapes], axis=0)
    return Shape(level, _vector(lower), _vector(upper))


def intersection(*shapes: Shape) -> Shape:
    """Build the solid of the points common to all shapes."""
    lower = np.max([shape.lower for shape in shapes], axis=0)
    upper = np.min([shape.upper for shape in shapes], axis=0)
    return Shape(lambda p: common(*(shape.level(p) for shape in shapes)), _vector(lower), _vector(upper))


def difference(shape: Shape, *removed: Shape) -> Shape:
    """Build `shape` without the points of the others."""
    return Shape(
        lambda p: common(shape.level(p), *(-other.level_or_far(p) for other in removed)),
        shape.lower,
        shape.upper,
    )


def inset(shape: Shape, depth_mm: float) -> Shape:
    """Build the part of `shape` deeper than `depth_mm` (negative: grow by that much)."""
    lower = np.asarray(shape.lower) + min(depth_mm, 0.0)
    upper = np.asarray(shape.upper) - min(depth_mm, 0.0)
    return Shape(lambda p: shape.level(p) + depth_mm, _vector(lower), _vector(upper))


def rippled(shape: Shape, amplitude_mm: float, wavelength_mm: float, phase: float = 0.0) -> Shape:
    """Push the surface in and out by a smooth three-dimensional wave of the given wavelength."""
    wave = 2 * np.pi / wavelength_mm

    def level(p: PointSet) -> Floats:
        ripple = (
            np.sin(wave * (p.x + 0.31 * p.y) + phase)
            + np.sin(wave * (0.9 * p.y - 0.4 * p.z) + 1.7 + phase)
            + np.sin(wave * (p.z + 0.27 * p.x) + 4.1 - phase)
        )
        values: Floats = shape.level(p) + (amplitude_mm / 3) * ripple
        return values

    lower, upper = np.asarray(shape.lower) - amplitude_mm, np.asarray(shape.upper) + amplitude_mm
    return Shape(level, _vector(lower), _vector(upper))
