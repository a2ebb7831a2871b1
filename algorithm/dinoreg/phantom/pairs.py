"""Which pairs the phantom task has."""

from dataclasses import dataclass

import numpy as np

from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.shapes import Vector
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.render import Modality


@dataclass(frozen=True, slots=True)
class PairPlan:
    """One pair of the task.

    Attributes:
        name: what the pair is for.
        fixed: subject number and modality of the fixed image.
        moving: subject number and modality of the moving image.
        breath_mm: craniocaudal motion of the diaphragm between the two.
        wobble_mm: largest other local push.
        table_shift_mm: translation between the two.
        same_patient: whether both images show one patient; if not, only labels relate them.
    """

    name: str
    fixed: tuple[int, Modality]
    moving: tuple[int, Modality]
    breath_mm: float
    wobble_mm: float
    table_shift_mm: Vector = (0.0, 0.0, 0.0)
    same_patient: bool = True

    def deformation(self, rng: np.random.Generator) -> SmoothDeformation:
        """Draw phi, fixed -> moving, mm."""
        return SmoothDeformation.breathing(
            rng, breath_mm=self.breath_mm, wobble_mm=self.wobble_mm, translation=self.table_shift_mm
        )

    def patients(self, rng: np.random.Generator) -> tuple[PatientVariation, PatientVariation]:
        """Draw the patients of the fixed and of the moving image."""
        moving = PatientVariation.sample(rng)
        return (moving if self.same_patient else PatientVariation.sample(rng)), moving


PAIRS = (
    PairPlan("CT<-CT, breath", (2, "CT"), (1, "CT"), 20.0, 10.0, (2.0, -3.0, 3.0)),
    PairPlan("MR<-CT", (3, "MR"), (3, "CT"), 14.0, 6.0, (3.0, -4.0, 6.0)),
    PairPlan("CBCT<-CT", (4, "CBCT"), (4, "CT"), 12.0, 6.0, (-5.0, 4.0, -7.0)),
    PairPlan("CT<-CT, other scan range", (6, "CT"), (5, "CT"), 12.0, 6.0, (4.0, -3.0, 50.0)),
    PairPlan("MR<-CT, other patient", (8, "MR"), (7, "CT"), 12.0, 8.0, (7.0, -5.0, 9.0), same_patient=False),
)
