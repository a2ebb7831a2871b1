"""Solid organs of the abdomen: liver, gall bladder, spleen, pancreas, kidneys, and their vessels."""

import numpy as np

from dinoreg.phantom.body.organ import Organ
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.shapes import (
    Level,
    Shape,
    Vector,
    common,
    difference,
    ellipsoid,
    inset,
    intersection,
    rippled,
    rotation,
    union,
)
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.body.trunk import Trunk
from dinoreg.phantom.body.tubes import tree, tube
from dinoreg.phantom.points import Floats, PointSet


def liver_organs(trunk: Trunk, patient: PatientVariation) -> list[Organ]:
    """Build liver, portal and hepatic veins and gall bladder."""
    right = ellipsoid(
        patient.place("liver", (70, -2, 44)), patient.grow("liver", (64, 75, 93)), rotation((0, 1, 0), 12)
    )
    left = ellipsoid(
        patient.place("liver", (4, 42, 70)), patient.grow("liver", (66, 34, 36)), rotation((0, 1, 0), 16)
    )
    bed = ellipsoid(patient.place("liver", (38, 30, 0)), (30, 44, 42))  # gall bladder bed and hilum
    space = intersection(trunk.cavity(9.0), trunk.below_diaphragm(2.5))
    shape = intersection(space, rippled(difference(union(right, left), bed), 5.0, 75, patient.seed % 6))
    rng = patient.rng("liver_vessels")
    portal_root = (*patient.place("liver", (26, 8, 38)), 6.0)
    portal, portal_forks = tree(
        portal_root,
        np.array([[105, 20, 60], [95, -45, 40], [80, 45, 60], [100, -10, 5], [-15, 50, 68], [60, -40, 75]]),
        rng,
        levels=3,
    )
    cava = (*patient.place("liver", (26, 0, 92)), 5.5)
    hepatic, hepatic_forks = tree(
        cava, np.array([[110, -20, 75], [75, 45, 75], [10, 50, 76], [80, -50, 80]]), rng, levels=3
    )
    centre = patient.place("liver", (78, 0, 50))
    bladder = patient.place("gall_bladder", (50, 46, 4), 2.0)
    bile = ellipsoid(bladder, patient.grow("gall_bladder", (14, 15, 27)), rotation((1, 0, 0), 25))
    return [
        Organ("liver", shape, ((0, Tissue.LIVER),), anchors=np.array([centre]), centre=centre),
        Organ(
            "liver_vessels",
            union(portal, hepatic),
            ((0, Tissue.LIVER_VESSEL),),
            within=(Tissue.LIVER,),
            anchors=np.vstack([portal_forks[:12], hepatic_forks[:12]]),
        ),
        Organ("gall_bladder", bile, ((0, Tissue.GALL_BLADDER),), anchors=np.array([bladder]), centre=bladder),
    ]


def spleen_organs(trunk: Trunk, patient: PatientVariation) -> list[Organ]:
    """Build the spleen, hollowed on the side of stomach and kidney."""
    centre = patient.place("spleen", (-88, -34, 54))
    body = ellipsoid(centre, patient.grow("spleen", (34, 52, 58), 0.09), rotation((1, 0, 0), -25))
    hollow = ellipsoid((centre[0] + 44, centre[1] + 36, centre[2] - 10), (30, 36, 46))
    space = intersection(trunk.cavity(9.0), trunk.below_diaphragm(2.5))
    shape = intersection(space, rippled(difference(body, hollow), 2.5, 45, 1.0))
    inner = (centre[0] - 6, centre[1] - 8, centre[2])
    return [Organ("spleen", shape, ((0, Tissue.SPLEEN),), anchors=np.array([inner]), centre=inner)]


def pancreas_organs(patient: PatientVariation) -> list[Organ]:
    """Build the pancreas with the splenic and portal veins behind it."""
    nodes = patient.move_nodes(
        "pancreas",
        [
            (38, 8, -14, 13),
            (26, 16, 2, 14),
            (6, 20, 14, 10),
            (-24, 12, 24, 10.5),
            (-52, -8, 36, 9),
            (-68, -22, 44, 7),
        ],
    )
    vein = tube([(30, 8, 32, 6), (14, 6, 14, 6), (-20, 0, 24, 4.5), (-60, -22, 46, 4)])
    mesenteric = tube([(14, 7, 14, 5.5), (10, 12, -20, 5), (4, 22, -60, 4), (0, 28, -90, 3)])
    artery = tube([(-7, -18, 12, 4), (-4, 2, 0, 4), (-4, 14, -30, 3.5), (-8, 24, -80, 3)])
    celiac = tube([(-8, -20, 24, 4), (-6, -2, 26, 4), (20, 4, 34, 3)])
    shape = rippled(tube(nodes), 1.6, 15)
    return [
        Organ("mesenteric_vessels", union(vein, mesenteric, artery, celiac), ((0, Tissue.VESSEL),)),
        Organ("pancreas", shape, ((0, Tissue.PANCREAS),), anchors=np.array(nodes)[:, :3]),
    ]


def kidney_organs(patient: PatientVariation) -> list[Organ]:
    """Build kidneys with cortex, pyramids, renal sinus and renal vessels."""
    organs = []
    for name, side, height, cortex, medulla in (
        ("right", 1.0, -12.0, Tissue.CORTEX_RIGHT, Tissue.MEDULLA_RIGHT),
        ("left", -1.0, 2.0, Tissue.CORTEX_LEFT, Tissue.MEDULLA_LEFT),
    ):
        key = f"kidney_{name}"
        centre = patient.place(key, (side * 62, -40, height))
        turn = rotation((0, 0, 1), side * 28) @ rotation((0, 1, 0), -side * 12) @ rotation((1, 0, 0), 8)
        a, b, c = patient.grow(key, (27, 25, 53), 0.07)
        offset = turn @ np.array([-side * (a + 2), 0.0, 0.0])
        notch_centre = (centre[0] + offset[0], centre[1] + offset[1], centre[2] + offset[2])
        notch = ellipsoid(notch_centre, (0.6 * a, 0.5 * b, 0.3 * c), turn)
        bean = rippled(difference(ellipsoid(centre, (a, b, c), turn), notch), 1.2, 30, side)
        sinus = ellipsoid(
            (centre[0] + 0.45 * offset[0], centre[1] + 0.45 * offset[1], centre[2]),
            (0.36 * a, 0.3 * b, 0.4 * c), turn,
        )  # fmt: skip
        pelvis = ellipsoid(
            (centre[0] + 0.62 * offset[0], centre[1] + 0.62 * offset[1], centre[2] - 3), (10, 6, 13), turn
        )
        fat = ellipsoid(centre, (a + 7, b + 6, c + 7), turn)
        inner = inset(bean, 7.5)
        pyramids = Shape(_pyramid_level(inner, centre), inner.lower, inner.upper)
        hilum = (centre[0] + 0.8 * offset[0], centre[1] + 0.8 * offset[1], centre[2])
        end = (-side * 2 - 5, -20.0, height + 8) if side < 0 else (-4.0, -24.0, height + 14)
        vessels = union(
            tube([(*hilum, 4), (0.5 * (hilum[0] + end[0]), -34, height + 5, 4), (*end, 4)]),
            tube([(*hilum, 5), (side * 24, -24, height + 2, 5.5), (22, -16, height + 6, 5.5)]),
        )
        ureter = tube(
            [(hilum[0], hilum[1] + 2, height - 14, 3), (side * 42, -24, -60, 2.6),
             (side * 40, -18, -120, 2.6), (side * 44, -20, -240, 2.6)]
        )  # fmt: skip
        poles = np.array([turn @ np.array([0, 0, s * (c - 8)]) + centre for s in (1, -1)])
        lateral = (centre[0] - 0.35 * offset[0], centre[1] - 0.35 * offset[1], centre[2])
        organs += [
            Organ(
                f"renal_fat_{name}", fat, ((0, Tissue.VISCERAL_FAT),), within=(Tissue.LIVER, Tissue.SPLEEN)
            ),
            Organ(f"renal_vessels_{name}", vessels, ((0, Tissue.VESSEL),)),
            Organ(f"ureter_{name}", ureter, ((0, Tissue.RENAL_PELVIS),)),
            Organ(key, bean, ((0, cortex),), anchors=poles, centre=lateral),
            Organ(f"medulla_{name}", pyramids, ((0, medulla),), within=(cortex,)),
            Organ(f"sinus_{name}", sinus, ((0, Tissue.VISCERAL_FAT),), within=(cortex, medulla)),
            Organ(
                f"renal_pelvis_{name}", pelvis, ((0, Tissue.RENAL_PELVIS),),
                within=(Tissue.VISCERAL_FAT, cortex, medulla), anchors=np.array([[*hilum]]),
            ),
        ]  # fmt: skip
    return organs


def _pyramid_level(inner: Shape, centre: Vector) -> Level:
    """Split the inside of the kidney in pyramids by columns of cortex."""

    def level(p: PointSet) -> Floats:
        angle = np.arctan2(p.y - centre[1], p.x - centre[0])
        columns = np.cos(2 * np.pi * (p.z - centre[2]) / 17) * (0.6 + 0.4 * np.cos(3 * angle))
        return common(inner.level(p), -4 * (columns + 0.55))

    return level
