"""Spine with discs, ribs with costal cartilage, sternum and iliac wings."""

from functools import partial

import numpy as np

from dinoreg.phantom.body.organ import Organ
from dinoreg.phantom.body.shapes import Shape, common, either
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.body.trunk import Trunk
from dinoreg.phantom.points import Floats, PointSet

DISC_HALF_MM = 4.0
RIB_SLOPE, RIB_SIDE_SLOPE = 0.45, 0.2
RIB_BACK_Y = -62.0
LAST_RIB, FIRST_CARTILAGE = 1, 4  # counted upwards: rib 12 is 1, rib 9 is 4
PITCH_AT_L1_MM, PITCH_SLOPE = 31.5, -0.03


def vertebra_index(z: Floats) -> Floats:
    """Return the position along the spine, (N,): 0 in the middle of L1, 1 in the middle of T12."""
    index: Floats = np.log1p(PITCH_SLOPE * z / PITCH_AT_L1_MM) / PITCH_SLOPE
    return index


def vertebra_height(index: Floats) -> Floats:
    """Return the z (mm) of a position along the spine; inverse of `vertebra_index`."""
    height: Floats = PITCH_AT_L1_MM * np.expm1(PITCH_SLOPE * index) / PITCH_SLOPE
    return height


def spine_y(z: Floats) -> Floats:
    """Return the y (mm) of the vertebral body centres at height z: lordosis and kyphosis."""
    y: Floats = -50 + 5 * np.cos(np.pi * (z + 66) / 230)
    return y


def _along(z: Floats) -> tuple[Floats, Floats, Floats]:
    """Split z in vertebra number, distance from its middle and pitch, the last two in mm."""
    index = vertebra_index(z)
    number = np.round(index)
    pitch = PITCH_AT_L1_MM + PITCH_SLOPE * z
    return number, (index - number) * pitch, pitch


SPINE_BOX = ((-46.0, -110.0, -np.inf), (46.0, -20.0, np.inf))


def _column(p: PointSet) -> Floats:
    """Distance to the column of bodies and discs."""
    _, along, pitch = _along(p.z)
    waist = 1 - 0.1 * np.clip(1 - (2 * along / pitch) ** 2, 0, 1)
    a, b = (21.5 - 0.025 * p.z) * waist, (16.5 - 0.012 * p.z) * waist
    dy = p.y - spine_y(p.z)
    level: Floats = (np.sqrt((p.x / a) ** 2 + (dy / b) ** 2) - 1) * b
    return level


def _body_level(p: PointSet) -> Floats:
    _, along, pitch = _along(p.z)
    return common(_column(p), np.abs(along) - (0.5 * pitch - DISC_HALF_MM))


def _arch_level(p: PointSet) -> Floats:
    """Distance to the lamina, the transverse processes and the spinous process."""
    _, along, _ = _along(p.z)
    dy = p.y - spine_y(p.z)
    ring = np.abs(np.sqrt(p.x**2 + (dy + 25) ** 2) - 11.5) - 3.0
    lamina = common(ring, np.abs(along - 1) - 10)
    side = common(np.abs(p.x) - 36, 8 - np.abs(p.x))
    transverse = common(np.sqrt((dy + 24) ** 2 + (along - 3) ** 2) - 4.5, side)
    drop = along + 4 + 0.5 * (dy + 38)
    spinous = common(np.abs(p.x) - 3.2, np.abs(drop) - 8, np.abs(dy + 41) - 7)
    return either(lamina, transverse, spinous)


def _canal_level(p: PointSet) -> Floats:
    dy = p.y - spine_y(p.z)
    level: Floats = np.sqrt((p.x * 0.9) ** 2 + (dy + 25) ** 2) - 8.5
    return level


def spine_organs() -> list[Organ]:
    """Build discs, vertebrae, spinal fluid and cord; anchors are body and disc centres, process tips."""
    number = np.arange(-6.0, 9.0)

    def at(index: Floats, x: float, dy: float) -> Floats:
        z = vertebra_height(index)
        return np.stack([np.full_like(z, x), spine_y(z) + dy, z], axis=1)

    processes = np.vstack([at(number, 31, -24), at(number, -31, -24), at(number - 0.1, 0, -44)])
    return [
        Organ("discs", Shape(_column, *SPINE_BOX), ((0.5, Tissue.DISC),), anchors=at(number + 0.5, 0, 0)),
        Organ(
            "vertebrae",
            Shape(_body_level, *SPINE_BOX),
            ((0, Tissue.CORTICAL_BONE), (2.0, Tissue.MARROW)),
            anchors=at(number, 0, 0),
        ),
        Organ(
            "arches",
            Shape(_arch_level, *SPINE_BOX),
            ((0, Tissue.CORTICAL_BONE), (2.4, Tissue.MARROW)),
            anchors=processes,
        ),
        Organ(
            "spinal_canal",
            Shape(_canal_level, *SPINE_BOX),
            ((0, Tissue.SPINAL_FLUID), (3.5, Tissue.SPINAL_CORD)),
        ),
    ]


def _rib_phase(p: PointSet) -> tuple[Floats, Floats]:
    """Return rib number (counted upwards from the twelfth) and distance from its middle line, mm."""
    number, along, _ = _along(p.z + RIB_SLOPE * (p.y - RIB_BACK_Y) + RIB_SIDE_SLOPE * np.abs(p.x))
    return number, along


def _rib_end_y(number: Floats) -> Floats:
    """Return how far forward (y, mm) the bony part of a rib reaches."""
    return np.minimum(-45 + 27 * number, 58)


def _rib_level(trunk: Trunk, p: PointSet) -> Floats:
    number, along = _rib_phase(p)
    depth = trunk.cage_level(p)
    section = (np.sqrt(((depth + 3.5) / 3.6) ** 2 + (along / 6.5) ** 2) - 1) * 3.6
    ends = np.maximum(p.y - _rib_end_y(number), 100.0 * (LAST_RIB - number))
    return common(section, ends, 16 - np.abs(p.x))


def _cartilage_level(trunk: Trunk, p: PointSet) -> Floats:
    number, along = _rib_phase(p)
    depth = trunk.cage_level(p)
    section = (np.sqrt(((depth + 3.5) / 3.6) ** 2 + (along / 6.5) ** 2) - 1) * 3.6
    return common(section, 58 - p.y, 100.0 * (FIRST_CARTILAGE - number))


def _sternum_level(trunk: Trunk, p: PointSet) -> Floats:
    return common(np.abs(p.x) - 17, np.abs(trunk.cage_level(p) + 3) - 5.5, 92 - p.z + 0.08 * p.x**2, 32 - p.y)


def rib_organs(trunk: Trunk) -> list[Organ]:
    """Build ribs, costal cartilage and sternum; anchors are the rib ends and their lateral points."""
    box = ((-150.0, -100.0, -60.0), (150.0, 110.0, np.inf))
    tips = _rib_anchors(trunk)
    return [
        Organ("cartilage", Shape(lambda p: _cartilage_level(trunk, p), *box), ((0, Tissue.CARTILAGE),)),
        Organ("ribs", Shape(lambda p: _rib_level(trunk, p), *box), ((0, Tissue.RIB),), anchors=tips),
        Organ(
            "sternum",
            Shape(lambda p: _sternum_level(trunk, p), (-18, 30, 90), (18, 110, np.inf)),
            ((0, Tissue.RIB), (2.5, Tissue.SPONGIOSA)),
            anchors=np.array([[0.0, 82.0, 100.0], [0.0, 82.0, 140.0]]),
        ),
    ]


def _rib_anchors(trunk: Trunk) -> Floats:
    """Find points on the middle line of the ribs: just behind the anterior end, and at the side."""
    number = np.repeat(np.arange(1.0, 9.0), 2)
    y = np.where(np.arange(16) % 2 == 0, _rib_end_y(number) - 3, -10.0)
    height = vertebra_height(number) - RIB_SLOPE * (y - RIB_BACK_Y)
    low, high = np.zeros(16), np.full(16, 150.0)
    for _ in range(40):  # bisect for the x at which the point is in the middle of the rib's thickness
        x = 0.5 * (low + high)
        z = height - RIB_SIDE_SLOPE * x
        outside = trunk.cage_level(PointSet.from_array(np.stack([x, y, z], axis=1))) > -3.5
        low, high = np.where(outside, low, x), np.where(outside, x, high)
    right = np.stack([low, y, height - RIB_SIDE_SLOPE * low], axis=1)
    return np.vstack([right, right * [-1, 1, 1]])


def _wing_level(side: float, p: PointSet) -> Floats:
    x = side * p.x
    sheet = x - (64 + 0.28 * (p.z + 165) + 0.35 * (p.y + 60) - 0.0035 * (p.y + 20) ** 2)
    rim = (np.sqrt(((p.y + 22) / 58) ** 2 + ((p.z + 178) / 82) ** 2) - 1) * 58
    thickness = 3.2 + 2.5 * np.exp(-((rim / 12) ** 2))
    return common(np.abs(sheet) * 0.87 - thickness, rim)


def pelvis_organs() -> list[Organ]:
    """Build the iliac wings; anchors are the highest points of the crests."""
    organs = []
    for name, side in (("right", 1.0), ("left", -1.0)):
        lower, upper = sorted((side * 30, side * 150))
        y, z = -22.0, -103.0
        x = side * (64 + 0.28 * (z + 165) + 0.35 * (y + 60) - 0.0035 * (y + 20) ** 2)
        organs.append(
            Organ(
                f"iliac_{name}",
                Shape(partial(_wing_level, side), (lower, -85, -262), (upper, 40, -94)),
                ((0, Tissue.PELVIC_BONE), (2.4, Tissue.SPONGIOSA)),
                anchors=np.array([[x, y, z], [side * 62.0, y - 40, z - 25], [x, y + 40, z - 30]]),
            )
        )
    return organs
