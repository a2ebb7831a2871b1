"""Smooth deformations known exactly: a translation and Gaussian bumps."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from dinoreg.phantom.body.shapes import Vector
from dinoreg.phantom.points import Floats


@dataclass(frozen=True, slots=True)
class Bump:
    """A local push that fades like a Gaussian.

    Attributes:
        centre: mm, in fixed space.
        push: mm, displacement at the centre.
        sigma: mm, standard deviation along x, y, z.
    """

    centre: Vector
    push: Vector
    sigma: Vector

    def __post_init__(self) -> None:
        if min(self.sigma) <= 0:
            raise ValueError(f"Bump: sigma must be positive, got {self.sigma}")


@dataclass(frozen=True, slots=True)
class SmoothDeformation:
    """phi(x) = x + translation + sum of bumps.

    Convention: pull; fixed position -> moving position, patient RAS mm. An image deformed by phi shows at
    x the anatomy of phi(x).
    """

    translation: Vector = (0.0, 0.0, 0.0)
    bumps: tuple[Bump, ...] = ()

    def __call__(self, points_mm: Floats) -> Floats:
        """Map (N, 3) fixed positions to (N, 3) moving positions, mm."""
        columns = np.ascontiguousarray(np.asarray(points_mm, dtype=np.float64).T)
        moved: Floats = columns + np.asarray(self.translation)[:, None]
        for bump in self.bumps:
            weight = _weight(bump, columns)
            for axis, push in enumerate(bump.push):
                if push:
                    moved[axis] += push * weight
        return moved.T

    def jacobian(self, points_mm: Floats) -> Floats:
        """Return d phi_c / d x_d at (N, 3) fixed positions as (N, 3, 3), without unit."""
        points_mm = np.asarray(points_mm, dtype=np.float64)
        gradient = np.broadcast_to(np.eye(3), (len(points_mm), 3, 3)).copy()
        for bump in self.bumps:
            slope = -(points_mm - bump.centre) / np.square(bump.sigma) * _weight(bump, points_mm.T)[:, None]
            gradient += np.asarray(bump.push)[None, :, None] * slope[:, None, :]
        return gradient

    def inverse_at(self, points_mm: Floats, *, tolerance_mm: float = 1e-9) -> Floats:
        """Find the fixed positions that map to the given moving positions, by Newton's method.

        Args:
            points_mm: (N, 3) moving positions, mm.
            tolerance_mm: largest distance left between phi(result) and `points_mm`.

        Returns:
            (N, 3) fixed positions, mm.

        Raises:
            RuntimeError: no convergence in 50 steps (phi is not a diffeomorphism there).
        """
        points_mm = np.asarray(points_mm, dtype=np.float64)
        guess: Floats = points_mm - self.translation
        for _ in range(50):
            error = points_mm - self(guess)
            if np.abs(error).max(initial=0.0) < tolerance_mm:
                return guess
            guess = guess + np.linalg.solve(self.jacobian(guess), error[:, :, None])[:, :, 0]
        raise RuntimeError(f"inverse_at: error still {np.abs(error).max():.2g} mm after 50 steps")

    @classmethod
    def breathing(
        cls,
        rng: np.random.Generator,
        *,
        breath_mm: float,
        wobble_mm: float,
        translation: Vector = (0.0, 0.0, 0.0),
    ) -> Self:
        """Draw a deformation like a breath between two scans.

        Args:
            rng: source of all draws.
            breath_mm: craniocaudal motion of the diaphragm; about 0.3 of it lifts the belly.
            wobble_mm: largest of the other local pushes (posture, stomach, bowel).
            translation: mm, patient position on the table.
        """
        lean = rng.uniform(-8, 8, size=2)
        bumps = [
            Bump((45 + lean[0], 22, 78), (0, 0.1 * breath_mm, 0.75 * breath_mm), (62, 52, 74)),
            Bump((-50 + lean[1], 18, 82), (0, 0.1 * breath_mm, 0.65 * breath_mm), (58, 52, 72)),
            Bump((0, 85, 10), (0, -0.3 * breath_mm, 0), (75, 48, 75)),
        ]
        spots = [(70, -20, 0), (-65, 10, -60), (20, 40, -110), (-40, -50, 130), (60, 30, 160), (0, -40, -40)]
        for spot in spots:
            centre = np.asarray(spot) + rng.uniform(-15, 15, size=3)
            heading = rng.normal(size=3) * [1, 0.9, 0.8]
            push = heading / np.linalg.norm(heading) * wobble_mm * rng.uniform(0.6, 1)
            bumps.append(Bump(_vector(centre), _vector(push), (rng.uniform(42, 58),) * 3))
        return cls(translation, tuple(bumps))


def _vector(values: Floats) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _weight(bump: Bump, columns: Floats) -> Floats:
    """Return the Gaussian of a bump at the points in the columns of a (3, N) array, (N,)."""
    exponent = np.zeros(columns.shape[1])
    for values, centre, sigma in zip(columns, bump.centre, bump.sigma, strict=True):
        exponent -= (0.5 / sigma**2) * (values - centre) ** 2
    return np.exp(exponent)
