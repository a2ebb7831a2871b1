"""Tapered tubes along smooth curves, and branching trees of them."""

from itertools import pairwise

import numpy as np

from dinoreg.phantom.body.shapes import FAR_MM, Shape, union
from dinoreg.phantom.points import Floats, PointSet

Node = tuple[float, float, float, float]


def smooth_path(nodes: list[Node], steps: int = 5) -> Floats:
    """Sample a Catmull-Rom curve through (x, y, z, radius) nodes.

    Args:
        nodes: two or more, mm.
        steps: samples for each stretch between nodes.

    Returns:
        ((len(nodes) - 1) * steps + 1, 4), mm; passes exactly through the nodes.
    """
    knots = np.asarray(nodes, dtype=np.float64)
    knots = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    stretches = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(knots[:-3], knots[1:-2], knots[2:-1], knots[3:], strict=True)
    ]
    path = np.vstack([*stretches, knots[-2:-1]])
    path[:, 3] = np.maximum(path[:, 3], knots[1:-1, 3].min())
    return path


def capsule(start: Floats, end: Floats) -> Shape:
    """Build a tapered capsule between two (x, y, z, radius) nodes, mm."""
    axis = end[:3] - start[:3]
    inverse_square = 1.0 / max(float(axis @ axis), 1e-9)
    widest = max(start[3], end[3])
    ends = np.stack([start[:3], end[:3]])

    def level(p: PointSet) -> Floats:
        dx, dy, dz = p.x - start[0], p.y - start[1], p.z - start[2]
        t = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) * inverse_square, 0.0, 1.0)
        dx -= t * axis[0]
        dy -= t * axis[1]
        dz -= t * axis[2]
        distance: Floats = np.sqrt(dx * dx + dy * dy + dz * dz) - (start[3] + t * (end[3] - start[3]))
        return distance

    lower, upper = ends.min(axis=0) - widest, ends.max(axis=0) + widest
    return Shape(level, (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def tube(nodes: list[Node], steps: int = 5) -> Shape:
    """Build a tube with a smooth centre line through (x, y, z, radius) nodes, mm."""
    path = smooth_path(nodes, steps)
    return union(*(capsule(start, end) for start, end in pairwise(path)))


def tree(root: Node, targets: Floats, rng: np.random.Generator, levels: int) -> tuple[Shape, Floats]:
    """Grow a branching vessel tree from one point towards several.

    Args:
        root: (x, y, z, radius) of the stem, mm.
        targets: (B, 3), where the main branches head for, mm.
        rng: source of the branching angles.
        levels: generations of branches; each generation has twice as many.

    Returns:
        The solid and the (M, 3) branching points, mm.
    """
    tips = [(np.asarray(root[:3]), np.asarray(target) - root[:3], root[3]) for target in targets]
    segments: list[Shape] = []
    forks: list[Floats] = []
    for generation in range(levels):
        grown = []
        for start, heading, radius in tips:
            end = start + heading * (0.5 if generation == 0 else 1.0)
            thin = max(radius * 0.72, 1.1)
            segments.append(capsule(np.append(start, radius), np.append(end, thin)))
            forks.append(end)
            length = float(np.linalg.norm(heading)) * (0.45 if generation == 0 else 0.78)
            for side in (-1.0, 1.0):
                turn = heading / np.linalg.norm(heading) + side * 0.55 * rng.normal(size=3)
                grown.append((end, turn / np.linalg.norm(turn) * length, thin))
        tips = grown
    if not segments:
        return Shape(lambda p: np.full(len(p), FAR_MM)), np.empty((0, 3))
    return union(*segments), np.array(forks)
