"""The trunk: skin, fat under the skin, muscle wall, rib cage surface, cavity and diaphragm."""

from dataclasses import dataclass

import numpy as np

from dinoreg.phantom.body.organ import Organ
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.shapes import Shape, common, squircle_level
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.points import Floats, PointSet

SKIN_MM = 2.5
WALL_MM = 8.0
RIB_DEPTH_MM = 7.0
CAGE_CENTRE_Y = 2.0


def _step(z: Floats, middle: float, width: float) -> Floats:
    """Rise smoothly from 0 far below `middle` to 1 far above."""
    rise: Floats = 0.5 * (1 + np.tanh((z - middle) / width))
    return rise


def _waist(z: Floats) -> Floats:
    dip: Floats = np.exp(-(((z + 45) / 45) ** 2))
    return dip


def cage_half_width(z: Floats) -> Floats:
    """Return the half width (mm along x) of the rib cage and abdominal wall at height z, (N,) mm."""
    return 121 + 5 * _step(z, 50, 40) - 8 * _waist(z) + 6 * _step(-z, 110, 25) - 44 * _step(z, 225, 45)


def cage_half_depth(z: Floats) -> Floats:
    """Return the half depth (mm along y) of the rib cage and abdominal wall at height z, (N,) mm."""
    return 80 + 4 * _step(z, 70, 40) - 3 * _waist(z) - 26 * _step(z, 225, 45)


@dataclass(frozen=True, slots=True)
class Trunk:
    """Trunk surfaces of one patient; all levels in mm, negative inside."""

    fat_mm: float
    dome_right_mm: float
    dome_left_mm: float

    @classmethod
    def of(cls, patient: PatientVariation) -> "Trunk":
        """Build the trunk of a patient."""
        lift = patient.shift("diaphragm", 5.0)
        return cls(patient.fat_mm, 84 + lift[0], 72 + lift[1])

    def cage_level(self, p: PointSet) -> Floats:
        """Distance to the outer surface of the ribs and, below them, of the inner abdominal wall."""

        def compute() -> Floats:
            a, b = cage_half_width(p.z), cage_half_depth(p.z)
            return squircle_level(p.x, p.y - CAGE_CENTRE_Y, a, b, 0.35)

        return p.remember("cage", compute)

    def wall_level(self, p: PointSet) -> Floats:
        """Distance to the outer surface of the muscle wall."""
        a, b = cage_half_width(p.z) + WALL_MM + 1, cage_half_depth(p.z) + WALL_MM + 6
        linea = 4 * np.exp(-((p.x / 9) ** 2)) * _step(p.y, 20, 20)
        return squircle_level(p.x, p.y - CAGE_CENTRE_Y + 5, a, b, 0.45) + linea

    def skin_level(self, p: PointSet) -> Floats:
        """Distance to the skin surface."""
        hips = 5 * _step(-p.z, 90, 30) + 6 * _step(p.z, 150, 30)
        a = cage_half_width(p.z) + WALL_MM + self.fat_mm + hips
        b = cage_half_depth(p.z) + WALL_MM + self.fat_mm + 6
        front = _step(p.y, 0, 30)
        groove = 6 * np.exp(-((p.x / 16) ** 2)) * (1 - front)
        navel = 9 * np.exp(-((p.x / 7) ** 2) - ((p.z + 62) / 7) ** 2) * front
        belly = 5 * np.exp(-(((p.z + 70) / 50) ** 2)) * front
        return squircle_level(p.x, p.y - CAGE_CENTRE_Y + 5, a, b, 0.45) + groove + navel - belly

    def over_dome(self, p: PointSet) -> Floats:
        """Return the height over the diaphragm, (N,) mm, negative below it."""
        return p.remember("dome", lambda: p.z - self.dome_height(p.x, p.y))

    def dome_height(self, x: Floats, y: Floats) -> Floats:
        """Return the height z (mm) of the diaphragm over (x, y)."""
        right = ((x - 64) / 52) ** 2 + ((y - 2) / 70) ** 2
        left = ((x + 62) / 50) ** 2 + ((y - 4) / 70) ** 2
        centre = np.exp(-0.5 * ((x / 34) ** 2 + ((y - 25) / 42) ** 2))
        height: Floats = (
            10
            + 0.15 * (y + 75)
            + self.dome_right_mm * np.exp(-(right**2))
            + self.dome_left_mm * np.exp(-(left**2))
            + 34 * centre
        )
        return height

    def above_diaphragm(self, margin_mm: float) -> Shape:
        """Build the space above the diaphragm, `margin_mm` away from its middle surface."""
        return Shape(lambda p: (margin_mm - self.over_dome(p)) / 1.4, (-np.inf, -np.inf, 0.0))

    def below_diaphragm(self, margin_mm: float) -> Shape:
        """Build the space below the diaphragm, `margin_mm` away from its middle surface."""
        top = (np.inf, np.inf, 170.0)
        return Shape(lambda p: (self.over_dome(p) + margin_mm) / 1.4, upper=top)

    def cavity(self, depth_mm: float) -> Shape:
        """Build the inside of cage and abdominal wall, from `depth_mm` below the cage surface."""
        box = (150.0, 120.0, np.inf)
        return Shape(lambda p: self.cage_level(p) + depth_mm, (-box[0], -box[1], -np.inf), box)


def _psoas(side: float) -> Shape:
    def level(p: PointSet) -> Floats:
        t = np.clip((20 - p.z) / 150, 0, 1)
        x0, y0 = side * (30 + 20 * t), -48 + 18 * t**2
        radius = 7 + 14 * np.sin(np.pi * np.clip(t * 0.75 + 0.06, 0, 1))
        return common(np.sqrt((p.x - x0) ** 2 + 0.8 * (p.y - y0) ** 2) - radius, 1.5 * (p.z - 24))

    lower, upper = sorted((side * 5, side * 80))
    return Shape(level, (lower, -90, -np.inf), (upper, 20, 24))


def _muscle_gap(side: float) -> Shape:
    """Thin sheet of fat around the erector spinae."""

    def level(p: PointSet) -> Floats:
        radius = np.sqrt(((p.x - side * 31) / 27) ** 2 + ((p.y + 82) / 15.5) ** 2)
        values: Floats = np.abs(radius - 1) * 17 - 1.3
        return values

    lower, upper = sorted((side * 2, side * 62))
    return Shape(level, (lower, -102, -np.inf), (upper, -62, np.inf))


def trunk_organs(trunk: Trunk) -> list[Organ]:
    """Build the layers of the trunk, from the skin inwards, and the diaphragm."""
    dome = Shape(
        lambda p: np.maximum(np.abs(trunk.over_dome(p)) / 1.4 - 2.2, trunk.cage_level(p) + RIB_DEPTH_MM),
        (-150, -120, 0),
        (150, 120, 170),
    )
    psoas = [
        Organ(f"psoas_{name}", _psoas(side), ((0, Tissue.MUSCLE),))
        for name, side in (("right", 1.0), ("left", -1.0))
    ]
    gaps = [
        Organ(f"erector_{name}", _muscle_gap(side), ((0, Tissue.FAT),), within=(Tissue.MUSCLE,))
        for name, side in (("right", 1.0), ("left", -1.0))
    ]
    return [
        Organ("skin", Shape(trunk.skin_level), ((0, Tissue.SKIN), (SKIN_MM, Tissue.FAT))),
        Organ("wall", Shape(trunk.wall_level), ((0, Tissue.MUSCLE),), within=(Tissue.FAT,)),
        *gaps,
        Organ("cavity", trunk.cavity(RIB_DEPTH_MM), ((0, Tissue.VISCERAL_FAT),)),
        Organ("diaphragm", dome, ((0, Tissue.MUSCLE),), within=(Tissue.VISCERAL_FAT,)),
        *psoas,
    ]
