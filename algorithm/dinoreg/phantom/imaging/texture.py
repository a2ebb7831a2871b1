"""Tissue texture as a smooth function of anatomical position, so that it moves with the tissue."""

import numpy as np

from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.points import Floats

_BANDS_MM = ((9.0, 16.0), (18.0, 45.0))  # fine and coarse wavelengths
_WAVES_PER_BAND = 8


def texture_at(points_mm: Floats, patient: PatientVariation) -> Floats:
    """Return the texture of a patient.

    Args:
        points_mm: (N, 3) anatomy positions, RAS mm.
        patient: its seed chooses the pattern.

    Returns:
        (N,) without unit; mean about 0, standard deviation about 1.
    """
    rng = patient.rng("texture")
    values = np.zeros(len(points_mm))
    for shortest, longest in _BANDS_MM:
        for _ in range(_WAVES_PER_BAND):
            heading = rng.normal(size=3)
            wave = 2 * np.pi / rng.uniform(shortest, longest) * heading / np.linalg.norm(heading)
            values += np.sin(points_mm @ wave + rng.uniform(0, 2 * np.pi))
    values /= np.sqrt(_WAVES_PER_BAND)
    return values
