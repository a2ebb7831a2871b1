"""An anatomical torso phantom: a registration task whose true deformation is known exactly.

Everything is a function of position in patient RAS millimetres; a deformed image is made by evaluating the
anatomy at displaced positions, never by resampling, and with none of the registration code.
"""

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.body.tissues import ORGAN_NAMES, Tissue
from dinoreg.phantom.deformation import Bump, SmoothDeformation
from dinoreg.phantom.imaging.render import MODALITIES, RenderedImage, render
from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.task import task_lattice, true_field, write_phantom_task

__all__ = [
    "MODALITIES",
    "ORGAN_NAMES",
    "Anatomy",
    "Bump",
    "Lattice",
    "PatientVariation",
    "RenderedImage",
    "SmoothDeformation",
    "Tissue",
    "render",
    "task_lattice",
    "true_field",
    "write_phantom_task",
]
