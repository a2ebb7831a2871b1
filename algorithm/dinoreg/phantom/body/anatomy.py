"""The whole patient: tissue at any point, organ labels, and landmarks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dinoreg.phantom.body.abdomen import kidney_organs, liver_organs, pancreas_organs, spleen_organs
from dinoreg.phantom.body.bowel import bowel_organs, stomach_organs
from dinoreg.phantom.body.organ import Organ, surface_points
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.skeleton import pelvis_organs, rib_organs, spine_organs
from dinoreg.phantom.body.thorax import great_vessel_organs, heart_organs, lung_organs
from dinoreg.phantom.body.tissues import organ_of_tissue
from dinoreg.phantom.body.trunk import Trunk, trunk_organs
from dinoreg.phantom.points import Floats, PointSet

_SURFACE_DIRECTIONS = 14


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A patient as a function of position.

    Convention: patient RAS millimetres (+x right, +y anterior, +z superior), z = 0 at the middle of L1.

    Attributes:
        patient: what makes this patient differ from the reference.
        organs: painted in this order, later ones over earlier ones.
    """

    patient: PatientVariation
    organs: tuple[Organ, ...]

    @classmethod
    def of(cls, patient: PatientVariation | None = None) -> "Anatomy":
        """Build the anatomy of a patient (the reference patient if None)."""
        patient = patient or PatientVariation()
        trunk = Trunk.of(patient)
        organs = (
            *trunk_organs(trunk),
            *lung_organs(trunk, patient),
            *heart_organs(patient),
            *bowel_organs(trunk, patient),
            *stomach_organs(trunk, patient),
            *liver_organs(trunk, patient),
            *spleen_organs(trunk, patient),
            *pancreas_organs(patient),
            *kidney_organs(patient),
            *great_vessel_organs(patient),
            *spine_organs(),
            *rib_organs(trunk),
            *pelvis_organs(),
        )
        return cls(patient, organs)

    def labels_at(self, points_mm: Floats) -> NDArray[np.uint8]:
        """Return the tissue id (see `Tissue`) at each point.

        Args:
            points_mm: (N, 3) patient RAS mm. Compact sets of points are the fastest.

        Returns:
            (N,) uint8.

        Raises:
            ValueError: `points_mm` is empty or not (N, 3).
        """
        scaled = np.asarray(points_mm, dtype=np.float64) / self.patient.body_scale
        points = PointSet.from_array(scaled)
        tissues = np.zeros(len(points), dtype=np.uint8)
        for layer, organ in enumerate(self.organs):
            organ.paint(points, tissues)
            if layer == 0 and not tissues.any():  # the skin comes first: nothing lies outside it
                break
        return tissues

    def organs_at(self, points_mm: Floats) -> NDArray[np.uint8]:
        """Return the organ label (see `ORGAN_NAMES`) at each point, (N,) uint8."""
        labels: NDArray[np.uint8] = organ_of_tissue()[self.labels_at(points_mm)]
        return labels

    def anchors_mm(self) -> Floats:
        """Return points that can be found again: centres, bifurcations, tips and organ surfaces.

        Returns:
            (M, 3) patient RAS mm, M about 300, some of them outside any given field of view.
        """
        directions = _directions(_SURFACE_DIRECTIONS)
        found: list[Floats] = []
        for organ in self.organs:
            found.append(self._where_visible(organ, organ.anchors))
            if organ.centre is not None:
                surface = surface_points(organ.shape, organ.centre, directions)
                found.append(0.97 * surface + 0.03 * np.asarray(organ.centre))
        scaled: Floats = np.vstack(found) * self.patient.body_scale
        return scaled

    def _where_visible(self, organ: Organ, anchors: Floats) -> Floats:
        """Drop anchors of vessels that are cut away by the organ the vessels belong to."""
        if not organ.within or len(anchors) == 0:
            return anchors
        tissues = self.labels_at(anchors * self.patient.body_scale)
        return anchors[np.isin(tissues, [tissue for _, tissue in organ.layers])]


def _directions(count: int) -> Floats:
    """Spread unit vectors over the sphere on a Fibonacci spiral, (count, 3)."""
    k = np.arange(count) + 0.5
    height = 1 - 2 * k / count
    angle = np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
