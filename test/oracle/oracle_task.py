"""The phantom task with coded images: what the oracle encoder wants to see of every voxel."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from oracle_encoder import MindOfCodedImage, OracleEncoder, Rendering, coded_image

from dinoreg.encoders.registry import LoadedEncoder
from dinoreg.phantom import task as task_module
from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.body.tissues import Tissue
from dinoreg.phantom.dataset_json import image_name
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.cone_beam import field_of_view
from dinoreg.phantom.imaging.rasterise import rasterise
from dinoreg.phantom.imaging.render import CBCT_RADIUS_MM
from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.pairs import PAIRS, PairPlan
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Encoder, Mind, Preprocess
from regtask.images import read_mask, read_volume, write_volume

CLASS_COUNT = len(Tissue)
# Beyond the phantom's own: scan ranges so far apart that hardly an organ meets itself, as in AbdomenMRCT.
FAR = replace(
    PAIRS[1],
    name="MR<-CT, far scan range",
    fixed=(10, "MR"),
    moving=(9, "CT"),
    table_shift_mm=(4.0, -3.0, 110.0),
)
# What a configuration must say for coded images: they are encoded as they are stored.
OVERRIDES = ("preprocess.normalise=false",)


def load_oracle(settings: Encoder, device: torch.device) -> LoadedEncoder:
    """Load the oracle where a configuration names an encoder with weights (`encoders.registry.Load`)."""
    if isinstance(settings, Mind):
        encoder = MindOfCodedImage(CLASS_COUNT, radius=settings.radius, dilation=settings.dilation)
        return LoadedEncoder(encoder)
    return LoadedEncoder(OracleEncoder(CLASS_COUNT).to(device))


def write_oracle_task(
    output: Path,
    *,
    size: task_module.Size = "small",
    seed: int = 0,
    pairs: Sequence[PairPlan] = (*PAIRS, FAR),
) -> Path:
    """Write the phantom task, its images coded; everything else, masks and landmarks too, as it is.

    Returns:
        Path of the dataset JSON.
    """
    with mock.patch.object(task_module, "PAIRS", tuple(pairs)):
        description = task_module.write_phantom_task(output, seed=seed, size=size)
    lattice = task_module.task_lattice(size)
    for number, plan in enumerate(pairs):
        rng = np.random.default_rng((seed, number))  # the draws of the task, in its order
        patients = plan.patients(rng)
        warps = (plan.deformation(rng), SmoothDeformation())
        for image, patient, warp in zip((plan.fixed, plan.moving), patients, warps, strict=True):
            classes = _classes(Anatomy.of(patient), warp, lattice)
            _code(output, f"{image_name(*image)}.nii.gz", classes, Rendering[image[1]], lattice)
    return description


def _classes(anatomy: Anatomy, warp: SmoothDeformation, lattice: Lattice) -> np.ndarray:
    return rasterise(anatomy, warp, lattice, np.zeros((CLASS_COUNT, 1)), supersample=1).tissues


def _code(folder: Path, name: str, classes: np.ndarray, rendering: Rendering, lattice: Lattice) -> None:
    path = folder / "imagesTr" / name
    if rendering == Rendering.CBCT:
        classes = np.where(field_of_view(lattice, CBCT_RADIUS_MM), classes, Tissue.AIR)
    volume = read_volume(path)
    modality = "MR" if rendering == Rendering.MR else "CT"
    mask = read_mask(folder / "masksTr" / name)
    intensities = np.clip(prepare_image(volume.data, Preprocess(), modality=modality, mask=mask).values, 0, 1)
    write_volume(path, coded_image(classes, intensities, rendering, CLASS_COUNT), volume.grid)
