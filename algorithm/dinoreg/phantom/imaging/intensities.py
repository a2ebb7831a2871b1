"""Tables of tissue intensity: mean and texture amplitude in CT and in T2-weighted MR."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from dinoreg.phantom.body.tissues import Tissue as T
from dinoreg.phantom.points import Floats

# Hounsfield units: mean, texture amplitude. Portal venous phase.
CT_HU: Mapping[T, tuple[float, float]] = MappingProxyType(
    {
        T.AIR: (-1000, 0),
        T.SKIN: (20, 5),
        T.FAT: (-105, 5),
        T.MUSCLE: (55, 7),
        T.VISCERAL_FAT: (-98, 8),
        T.LUNG_RIGHT: (-850, 22),
        T.LUNG_LEFT: (-850, 22),
        T.LUNG_VESSEL_RIGHT: (90, 0),
        T.LUNG_VESSEL_LEFT: (90, 0),
        T.AIRWAY: (-990, 0),
        T.MYOCARDIUM: (100, 5),
        T.HEART_BLOOD: (160, 4),
        T.LIVER: (105, 6),
        T.LIVER_VESSEL: (155, 3),
        T.GALL_BLADDER: (8, 2),
        T.SPLEEN: (120, 5),
        T.CORTEX_RIGHT: (190, 6),
        T.CORTEX_LEFT: (190, 6),
        T.MEDULLA_RIGHT: (140, 8),
        T.MEDULLA_LEFT: (140, 8),
        T.RENAL_PELVIS: (12, 3),
        T.STOMACH_WALL: (65, 5),
        T.STOMACH_FLUID: (15, 4),
        T.STOMACH_GAS: (-980, 0),
        T.PANCREAS: (90, 12),
        T.AORTA: (175, 3),
        T.VENA_CAVA: (145, 4),
        T.VESSEL: (160, 4),
        T.BOWEL_WALL: (75, 8),
        T.BOWEL_CONTENT: (25, 20),
        T.GAS: (-930, 30),
        T.CORTICAL_BONE: (750, 60),
        T.MARROW: (210, 45),
        T.RIB: (600, 90),
        T.CARTILAGE: (105, 15),
        T.DISC: (85, 8),
        T.SPINAL_FLUID: (12, 2),
        T.SPINAL_CORD: (40, 3),
        T.PELVIC_BONE: (750, 70),
        T.OESOPHAGUS: (45, 8),
        T.SPONGIOSA: (190, 45),
    }
)

# Arbitrary units: mean, texture amplitude. Fluid bright, flowing blood, cortical bone and gas dark.
T2_UNITS: Mapping[T, tuple[float, float]] = MappingProxyType(
    {
        T.AIR: (0, 0),
        T.SKIN: (150, 15),
        T.FAT: (470, 25),
        T.MUSCLE: (130, 14),
        T.VISCERAL_FAT: (430, 35),
        T.LUNG_RIGHT: (35, 10),
        T.LUNG_LEFT: (35, 10),
        T.LUNG_VESSEL_RIGHT: (110, 10),
        T.LUNG_VESSEL_LEFT: (110, 10),
        T.AIRWAY: (5, 0),
        T.MYOCARDIUM: (220, 18),
        T.HEART_BLOOD: (90, 22),
        T.LIVER: (190, 14),
        T.LIVER_VESSEL: (330, 15),
        T.GALL_BLADDER: (980, 15),
        T.SPLEEN: (380, 18),
        T.CORTEX_RIGHT: (380, 20),
        T.CORTEX_LEFT: (380, 20),
        T.MEDULLA_RIGHT: (540, 25),
        T.MEDULLA_LEFT: (540, 25),
        T.RENAL_PELVIS: (880, 20),
        T.STOMACH_WALL: (240, 18),
        T.STOMACH_FLUID: (850, 40),
        T.STOMACH_GAS: (5, 0),
        T.PANCREAS: (270, 30),
        T.AORTA: (55, 10),
        T.VENA_CAVA: (95, 15),
        T.VESSEL: (75, 12),
        T.BOWEL_WALL: (230, 20),
        T.BOWEL_CONTENT: (580, 150),
        T.GAS: (10, 4),
        T.CORTICAL_BONE: (70, 12),
        T.MARROW: (290, 35),
        T.RIB: (110, 25),
        T.CARTILAGE: (210, 15),
        T.DISC: (430, 40),
        T.SPINAL_FLUID: (950, 20),
        T.SPINAL_CORD: (330, 10),
        T.PELVIC_BONE: (75, 12),
        T.OESOPHAGUS: (200, 25),
        T.SPONGIOSA: (300, 35),
    }
)


def intensity_table(intensities: Mapping[T, tuple[float, float]]) -> Floats:
    """Return the (number of tissues, 2) table of mean and texture amplitude.

    Raises:
        KeyError: a tissue has no intensity.
    """
    return np.array([intensities[tissue] for tissue in T], dtype=np.float64)
