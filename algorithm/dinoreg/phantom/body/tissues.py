"""Tissue ids of the phantom and the organ labels of the task."""

from enum import IntEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """What fills a point; AIR is outside the body, gas inside it is GAS."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    VISCERAL_FAT = 4
    LUNG_RIGHT = 5
    LUNG_LEFT = 6
    LUNG_VESSEL_RIGHT = 7
    LUNG_VESSEL_LEFT = 8
    AIRWAY = 9
    MYOCARDIUM = 10
    HEART_BLOOD = 11
    LIVER = 12
    LIVER_VESSEL = 13
    GALL_BLADDER = 14
    SPLEEN = 15
    CORTEX_RIGHT = 16
    CORTEX_LEFT = 17
    MEDULLA_RIGHT = 18
    MEDULLA_LEFT = 19
    RENAL_PELVIS = 20
    STOMACH_WALL = 21
    STOMACH_FLUID = 22
    STOMACH_GAS = 23
    PANCREAS = 24
    AORTA = 25
    VENA_CAVA = 26
    VESSEL = 27
    BOWEL_WALL = 28
    BOWEL_CONTENT = 29
    GAS = 30
    CORTICAL_BONE = 31
    MARROW = 32
    RIB = 33
    CARTILAGE = 34
    DISC = 35
    SPINAL_FLUID = 36
    SPINAL_CORD = 37
    PELVIC_BONE = 38
    OESOPHAGUS = 39
    SPONGIOSA = 40


ORGAN_NAMES = MappingProxyType(
    {
        0: "background",
        1: "liver",
        2: "spleen",
        3: "kidney_right",
        4: "kidney_left",
        5: "stomach",
        6: "gall_bladder",
        7: "pancreas",
        8: "aorta",
        9: "vena_cava",
        10: "heart",
        11: "lung_right",
        12: "lung_left",
        13: "vertebrae",
    }
)

_ORGAN_OF_TISSUE = {
    Tissue.LIVER: 1,
    Tissue.LIVER_VESSEL: 1,
    Tissue.SPLEEN: 2,
    Tissue.CORTEX_RIGHT: 3,
    Tissue.MEDULLA_RIGHT: 3,
    Tissue.CORTEX_LEFT: 4,
    Tissue.MEDULLA_LEFT: 4,
    Tissue.STOMACH_WALL: 5,
    Tissue.STOMACH_FLUID: 5,
    Tissue.STOMACH_GAS: 5,
    Tissue.GALL_BLADDER: 6,
    Tissue.PANCREAS: 7,
    Tissue.AORTA: 8,
    Tissue.VENA_CAVA: 9,
    Tissue.MYOCARDIUM: 10,
    Tissue.HEART_BLOOD: 10,
    Tissue.LUNG_RIGHT: 11,
    Tissue.LUNG_VESSEL_RIGHT: 11,
    Tissue.LUNG_LEFT: 12,
    Tissue.LUNG_VESSEL_LEFT: 12,
    Tissue.CORTICAL_BONE: 13,
    Tissue.MARROW: 13,
}


def organ_of_tissue() -> NDArray[np.uint8]:
    """Return the (number of tissues,) table from tissue id to organ label; 0 where there is none."""
    table = np.zeros(len(Tissue), dtype=np.uint8)
    for tissue, organ in _ORGAN_OF_TISSUE.items():
        table[tissue] = organ
    return table
