"""Lungs with vessels and airways, heart with chambers, oesophagus and the great vessels."""

import numpy as np

from dinoreg.phantom.body.organ import Organ
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.shapes import Shape, ellipsoid, inset, intersection, rippled, rotation, union
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.body.trunk import Trunk
from dinoreg.phantom.body.tubes import tree, tube
from dinoreg.phantom.points import Floats, PointSet

PLEURA_MM = 8.5


def _mediastinum(side: float) -> Shape:
    """Build the side of the chest beyond the mediastinum: thin in front and behind, thick at the hilum."""

    def level(p: PointSet) -> Floats:
        width = 9 + 19 * np.exp(-(((p.y - 2) / 42) ** 2)) + 5 * np.exp(-(((p.z - 190) / 30) ** 2))
        values: Floats = width - side * p.x
        return values

    return Shape(
        level, *(((3, -130, -300), (150, 130, 300)) if side > 0 else ((-150, -130, -300), (-3, 130, 300)))
    )


def lung(trunk: Trunk, side: float) -> Shape:
    """Build one lung: `side` +1 is right, -1 left."""
    return intersection(trunk.cavity(PLEURA_MM), trunk.above_diaphragm(2.2), _mediastinum(side))


def lung_organs(trunk: Trunk, patient: PatientVariation) -> list[Organ]:
    """Build lungs, bronchi and lung vessels; anchors of the vessels are their branching points."""
    organs = []
    for name, side, tissue, vessel in (
        ("right", 1.0, Tissue.LUNG_RIGHT, Tissue.LUNG_VESSEL_RIGHT),
        ("left", -1.0, Tissue.LUNG_LEFT, Tissue.LUNG_VESSEL_LEFT),
    ):
        centre = (side * 72, -25.0, 150.0)
        targets = np.array(
            [
                [75, 35, 215], [85, -25, 222], [60, -50, 200], [95, 20, 180], [90, -40, 165],
                [75, -60, 130], [95, -50, 100], [100, 10, 135], [60, 50, 160], [70, -62, 80],
            ]
        ) * [side, 1, 1]  # fmt: skip
        root = (side * 30, -6.0, 178.0, 6.5)
        vessels, forks = tree(root, targets, patient.rng(f"lung_vessels_{name}"), levels=4)
        organs += [
            Organ(f"lung_{name}", lung(trunk, side), ((0, tissue),), centre=centre),
            Organ(f"lung_vessels_{name}", vessels, ((0, vessel),), within=(tissue,), anchors=forks[:40]),
        ]
    airways = union(
        tube([(2, -14, 300, 8.5), (2, -14, 250, 8.5), (2, -16, 214, 8.5)]),
        tube([(2, -16, 216, 8), (18, -16, 198, 7), (36, -18, 180, 5.5), (48, -24, 160, 4)]),
        tube([(2, -16, 216, 7.5), (-20, -18, 200, 6.5), (-42, -20, 186, 5), (-52, -28, 168, 4)]),
    )
    carina = np.array([[2.0, -16.0, 212.0], [18.0, -16.0, 198.0], [-20.0, -18.0, 200.0]])
    organs.append(Organ("airways", airways, ((0, Tissue.MUSCLE), (1.4, Tissue.AIRWAY)), anchors=carina))
    return organs


def heart_organs(patient: PatientVariation) -> list[Organ]:
    """Build the heart in its fat, with four chambers filled with blood, and the vessels above it."""
    dx, dy, dz = patient.shift("heart", 3.0)
    scale = patient.size("heart")

    def at(x: float, y: float, z: float) -> tuple[float, float, float]:
        return -20 + dx + scale * (x + 20), 22 + dy + scale * (y - 22), 138 + dz + scale * (z - 138)

    turn = rotation((0, 0, 1), -38) @ rotation((0, 1, 0), -22)

    def part(centre: tuple[float, float, float], a: float, b: float, c: float) -> Shape:
        return ellipsoid(at(*centre), (a * scale, b * scale, c * scale), turn)

    muscle = rippled(union(part((-24, 22, 132), 60, 40, 42), part((8, 6, 156), 40, 32, 34)), 2.0, 70)
    left_ventricle = part((-42, 16, 128), 34, 17, 19)
    right_ventricle = intersection(part((-22, 47, 126), 40, 17, 28), inset(muscle, 4.0))
    right_atrium = part((26, 22, 142), 19, 22, 26)
    left_atrium = part((0, -12, 158), 27, 15, 19)
    blood = rippled(union(left_ventricle, right_ventricle, right_atrium, left_atrium), 1.5, 25)
    anchors = np.array(
        [at(-42, 16, 128), at(26, 22, 142), at(0, -12, 158), at(-22, 47, 126), at(-68, 34, 112)]
    )
    lung_arteries = union(
        tube([(-22, 36, 160, 13), (-16, 14, 186, 12.5), (-24, -4, 190, 10), (-44, -14, 180, 8)]),
        tube([(-16, 12, 188, 11), (8, -6, 190, 10), (34, -10, 180, 8.5)]),
    )
    upper_cava = tube([(28, 14, 150, 9), (27, 4, 190, 9), (24, 4, 230, 9), (20, 6, 300, 8)])
    air = (Tissue.LUNG_RIGHT, Tissue.LUNG_LEFT, Tissue.LUNG_VESSEL_RIGHT, Tissue.LUNG_VESSEL_LEFT)
    return [
        Organ("pericardium", inset(muscle, -4.0), ((0, Tissue.VISCERAL_FAT),), within=air),
        Organ("lung_arteries", lung_arteries, ((0, Tissue.VESSEL),)),
        Organ("upper_cava", upper_cava, ((0, Tissue.VESSEL),)),
        Organ("heart", muscle, ((0, Tissue.MYOCARDIUM),), anchors=anchors, centre=at(-20, 20, 136)),
        Organ("heart_chambers", blood, ((0, Tissue.HEART_BLOOD),), within=(Tissue.MYOCARDIUM,)),
    ]


def great_vessel_organs(patient: PatientVariation) -> list[Organ]:
    """Build oesophagus, aorta, vena cava and iliac vessels; anchors lie on their centre lines."""
    gullet = patient.move_nodes(
        "oesophagus",
        [(-2, -30, 300, 7), (-3, -30, 200, 7), (-8, -26, 140, 7.5), (-16, -14, 108, 7), (-34, 2, 84, 7.5)],
    )
    aorta_nodes = patient.move_nodes(
        "aorta",
        [
            (-4, 10, 150, 14), (8, 14, 185, 15), (6, 4, 222, 14.5), (-6, -16, 236, 13.5),
            (-18, -38, 222, 12.5),
            (-20, -42, 190, 12), (-18, -38, 120, 11.5), (-10, -24, 60, 11), (-8, -20, 0, 10.5),
            (-6, -16, -66, 9.5), (-4, -16, -100, 9),
        ],
    )  # fmt: skip
    cava_nodes = patient.move_nodes(
        "vena_cava",
        [
            (18, -18, -104, 10), (22, -19, -45, 11), (25, -14, 20, 11.5), (25, -8, 70, 12),
            (21, 4, 100, 12.5), (25, 16, 130, 13),
        ],
        2.0,
    )  # fmt: skip
    fork = aorta_nodes[-1][:3]
    joint = cava_nodes[0][:3]
    iliacs = [
        tube(
            [(*fork, 8), (side * 26 - 3, -22, -132, 7), (side * 48, -16, -170, 6.5), (side * 58, 5, -230, 6)]
        )
        for side in (1.0, -1.0)
    ]
    veins = [
        tube(
            [
                (*joint, 8),
                (side * 30 + 4, -32, -135, 7.5),
                (side * 52, -28, -172, 7),
                (side * 62, -8, -230, 7),
            ]
        )
        for side in (1.0, -1.0)
    ]
    return [
        Organ("oesophagus", tube(gullet), ((0, Tissue.OESOPHAGUS),), anchors=np.array(gullet[2:4])[:, :3]),
        Organ("iliac_veins", union(*veins), ((0, Tissue.VESSEL),)),
        Organ("vena_cava", tube(cava_nodes), ((0, Tissue.VENA_CAVA),), anchors=np.array(cava_nodes)[:, :3]),
        Organ("iliac_arteries", union(*iliacs), ((0, Tissue.VESSEL),)),
        Organ("aorta", tube(aorta_nodes), ((0, Tissue.AORTA),), anchors=np.array(aorta_nodes)[:, :3]),
    ]
