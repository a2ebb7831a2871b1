"""Torsos: the phantom's patients, with a wider spread than its registration task has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.shapes import Vector
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.imaging.rasterise import label_voxels
from dinoreg.phantom.lattice import Lattice
from dinoreg.pretrain.anatomy.labels import Kind, LabelVolume, Shape3

_SIZE_MM = (400.0, 300.0, 560.0)  # from the pelvis to above the lungs
_CENTRE_MM = (0.0, -5.0, 25.0)

_KINDS = {
    Kind.AIR: (Tissue.AIR,),
    Kind.GAS: (Tissue.AIRWAY, Tissue.STOMACH_GAS, Tissue.GAS),
    Kind.LUNG: (Tissue.LUNG_RIGHT, Tissue.LUNG_LEFT),
    Kind.FAT: (Tissue.FAT, Tissue.VISCERAL_FAT),
    Kind.MUSCLE: (
        Tissue.SKIN, Tissue.MUSCLE, Tissue.MYOCARDIUM, Tissue.STOMACH_WALL, Tissue.BOWEL_WALL,
        Tissue.CARTILAGE, Tissue.OESOPHAGUS,
    ),
    Kind.ORGAN: (
        Tissue.LIVER, Tissue.SPLEEN, Tissue.CORTEX_RIGHT, Tissue.CORTEX_LEFT, Tissue.MEDULLA_RIGHT,
        Tissue.MEDULLA_LEFT, Tissue.PANCREAS, Tissue.DISC, Tissue.SPINAL_CORD, Tissue.BOWEL_CONTENT,
    ),
    Kind.FLUID: (Tissue.GALL_BLADDER, Tissue.RENAL_PELVIS, Tissue.STOMACH_FLUID, Tissue.SPINAL_FLUID),
    Kind.BLOOD: (
        Tissue.LUNG_VESSEL_RIGHT, Tissue.LUNG_VESSEL_LEFT, Tissue.HEART_BLOOD, Tissue.LIVER_VESSEL,
        Tissue.AORTA, Tissue.VENA_CAVA, Tissue.VESSEL,
    ),
    Kind.BONE: (Tissue.CORTICAL_BONE, Tissue.RIB, Tissue.PELVIC_BONE),
    Kind.MARROW: (Tissue.MARROW, Tissue.SPONGIOSA),
}  # fmt: skip


def torso(spacing_mm: float, rng: np.random.Generator) -> LabelVolume:
    """Draw a patient of the phantom, twice as variable as in its task, on an RAS lattice.

    Args:
        spacing_mm: voxel size.
        rng: source of the patient.
    """
    patient = PatientVariation(
        seed=int(rng.integers(1, 2**31)),
        strength=float(rng.uniform(1.0, 2.0)),
        body_scale=tuple(rng.uniform(0.86, 1.12, size=3).tolist()),
        fat_mm=float(rng.uniform(6, 24)),
    )
    shape: Shape3 = tuple(round(size / spacing_mm) for size in _SIZE_MM)  # type: ignore[assignment]
    lattice = ras_lattice(shape, spacing_mm, _CENTRE_MM)
    ids = label_voxels(Anatomy.of(patient), lattice)
    frame = np.stack([np.full(3, spacing_mm), lattice.affine[:3, 3]]) / patient.body_scale
    return LabelVolume(ids, tissue_kinds(), spacing_mm, oriented=True, frame=frame)


def tissue_kinds() -> NDArray[np.uint8]:
    """Return the kind of each tissue of the phantom."""
    kinds = np.full(len(Tissue), 255, np.uint8)
    for kind, tissues in _KINDS.items():
        kinds[list(tissues)] = kind
    return kinds


def ras_lattice(shape: Shape3, spacing_mm: float, centre_mm: Vector) -> Lattice:
    """Return a lattice around a place of the patient whose axes run to the right, front and top."""
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = np.asarray(centre_mm) - spacing_mm * (np.asarray(shape) - 1) / 2
    return Lattice(shape, affine)
