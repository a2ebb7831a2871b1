"""Stomach with gas above fluid, small bowel loops and colon with haustra."""

import numpy as np

from dinoreg.phantom.body.organ import Organ
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.shapes import Shape, inset, intersection, rippled, union
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.body.trunk import Trunk
from dinoreg.phantom.body.tubes import Node, tube
from dinoreg.phantom.points import Floats, PointSet


def _in_front_of(y_mm: float) -> Shape:
    """Build the half space y > y_mm: where gas gathers in a patient on the back."""
    return Shape(lambda p: y_mm - p.y)


def stomach_organs(trunk: Trunk, patient: PatientVariation) -> list[Organ]:
    """Build the stomach: fundus under the left dome, antrum crossing the midline."""
    nodes: list[Node] = [
        (-58, -16, 84, 24), (-62, 4, 74, 32), (-64, 28, 48, 31), (-52, 46, 18, 25), (-24, 54, -2, 19),
        (8, 50, 2, 15), (28, 38, 8, 10),
    ]  # fmt: skip
    nodes = patient.move_nodes("stomach", nodes, 5.0)
    space = intersection(trunk.cavity(9.0), trunk.below_diaphragm(3.0))
    shape = intersection(space, rippled(tube(nodes), 2.5, 40, 0.5))
    content = inset(shape, 4.0)
    centre = nodes[2][:3]
    anchors = np.array([centre, nodes[1][:3], nodes[5][:3]])
    return [
        Organ(
            "stomach",
            shape,
            ((0, Tissue.STOMACH_WALL), (4.0, Tissue.STOMACH_FLUID)),
            anchors=anchors,
            centre=centre,
        ),
        Organ(
            "stomach_gas", intersection(content, _in_front_of(nodes[3][1] - 6)), ((0, Tissue.STOMACH_GAS),)
        ),
    ]


def _small_bowel(patient: PatientVariation) -> list[Shape]:
    """Build wandering loops between the colon and the stomach."""
    rng = patient.rng("small_bowel")
    loops = []
    for row, height in enumerate((-46.0, -73.0, -100.0, -127.0, -154.0, -181.0)):
        for layer, depth in enumerate((2.0, 28.0, 54.0)):
            phase = rng.uniform(0, 2 * np.pi)
            x = np.linspace(-66, 66, 9) * (1 if (row + layer) % 2 else -1)
            y = depth + 9 * np.sin(np.linspace(0, 9, 9) + phase)
            z = height + 11 * np.sin(np.linspace(0, 12, 9) + 2 * phase) + 6 * layer
            radius = 11 + 2.0 * np.sin(np.linspace(0, 7, 9) + phase)
            loops.append(tube(list(zip(x, y, z, radius, strict=True)), steps=2))
    return loops


def _bubbles(wavelength_mm: float, share: float, phase: float) -> Shape:
    """Build scattered gas bubbles that fill roughly `share` of space."""
    k = 2 * np.pi / wavelength_mm

    def level(p: PointSet) -> Floats:
        wave = np.sin(k * p.x + phase) + np.sin(k * 0.8 * p.z + 2 * phase) + np.sin(k * 1.1 * p.y + 1)
        values: Floats = 5 * (2.2 * (1 - 2 * share) - wave)
        return values

    return Shape(level)


def bowel_organs(trunk: Trunk, patient: PatientVariation) -> list[Organ]:
    """Build small bowel and colon; anchors are the flexures of the colon."""
    right: list[Node] = [
        (74, 16, -215, 20),
        (88, 8, -150, 23),
        (94, 0, -90, 22),
        (92, 4, -48, 20),
        (80, 26, -32, 18),
    ]
    across: list[Node] = [
        (80, 28, -32, 17), (52, 56, -44, 17), (10, 66, -52, 17), (-36, 64, -38, 17), (-78, 40, -8, 16),
        (-100, 4, 22, 16),
    ]  # fmt: skip
    left: list[Node] = [
        (-100, 2, 22, 15), (-103, -14, -20, 14), (-100, -12, -80, 14), (-92, 0, -140, 14),
        (-60, 10, -200, 13),
    ]  # fmt: skip
    parts = [patient.move_nodes("colon", nodes, 3.0) for nodes in (right, across, left)]
    colon = intersection(rippled(union(*(tube(nodes) for nodes in parts)), 3.2, 24, 0.8), trunk.cavity(9.0))
    loops = rippled(union(*_small_bowel(patient)), 1.2, 14)
    anchors = np.array([nodes[k][:3] for nodes in parts for k in (0, 2, len(nodes) - 1)])
    walls = ((0.0, Tissue.BOWEL_WALL), (3.0, Tissue.BOWEL_CONTENT))
    across_gas = intersection(inset(tube(parts[1]), 5.0), _in_front_of(46.0))
    return [
        Organ("small_bowel", loops, walls),
        Organ(
            "small_bowel_gas", intersection(inset(loops, 4.0), _bubbles(46, 0.24, 0.4)), ((0, Tissue.GAS),)
        ),
        Organ("colon", colon, walls, anchors=anchors),
        Organ("colon_gas", intersection(inset(colon, 4.0), _bubbles(34, 0.3, 1.9)), ((0, Tissue.GAS),)),
        Organ("colon_front_gas", across_gas, ((0, Tissue.GAS),), within=(Tissue.BOWEL_CONTENT,)),
    ]
