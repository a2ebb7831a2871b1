"""Write the phantom as a Learn2Reg task: images, labels, masks, landmarks, true fields, dataset JSON."""

import json
import logging
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.body.shapes import Vector
from dinoreg.phantom.dataset_json import TASK_NAME, dataset_json, image_name
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.render import Modality, RenderedImage, render
from dinoreg.phantom.landmarks import pair_landmarks
from dinoreg.phantom.lattice import Lattice, Shape3
from dinoreg.phantom.pairs import PAIRS, PairPlan
from regtask.atomic import atomic_write_text
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.images import write_volume
from regtask.landmarks import write_landmarks

log = logging.getLogger(__name__)

Size = Literal["demo", "small"]
_CENTRE_MM: Vector = (0.0, -5.0, 8.0)
_SIZES: MappingProxyType[str, tuple[Shape3, Vector]] = MappingProxyType(
    {"demo": ((112, 88, 96), (3.0, 3.2, 3.5)), "small": ((64, 52, 56), (5.2, 5.4, 6.0))}
)


def task_lattice(size: Size) -> Lattice:
    """Return the lattice of all images of the task.

    Raises:
        ValueError: unknown size.
    """
    if size not in _SIZES:
        raise ValueError(f"size: expected one of {sorted(_SIZES)}, got {size!r}")
    shape, spacing_mm = _SIZES[size]
    return Lattice.centred(shape, spacing_mm, _CENTRE_MM)


def true_field(deformation: SmoothDeformation, lattice: Lattice) -> NDArray[np.float32]:
    """Return the exact displacement field of a deformation.

    Convention: pull, on the fixed lattice; component c is along array axis c, in voxels.

    Returns:
        (I, J, K, 3) float32.
    """
    positions = lattice.to_mm(lattice.voxel_grid())
    vectors = lattice.vectors_to_voxels(deformation(positions) - positions)
    return vectors.reshape(*lattice.shape, 3).astype(np.float32)


def write_phantom_task(output: Path, *, seed: int = 0, size: Size = "demo") -> Path:
    """Write the task; the same seed and size always give the same files.

    Folders: `imagesTr`, `labelsTr`, `masksTr` for every image, `landmarksTr` (voxels, csv without header) and
    `fieldsTr` (voxels, exact) for every pair of one patient.

    Args:
        output: task folder; made if absent, files of an earlier run are replaced.
        seed: chooses patients, deformations and noise.
        size: "demo" (112 x 88 x 96 voxels of 3.0 x 3.2 x 3.5 mm) or "small" (64 x 52 x 56 voxels of
            5.2 x 5.4 x 6.0 mm).

    Returns:
        Path of the dataset JSON, written last.

    Raises:
        ValueError: unknown size.
    """
    lattice = task_lattice(size)
    for folder in ("imagesTr", "labelsTr", "masksTr", "landmarksTr", "fieldsTr"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    for number, plan in enumerate(PAIRS):
        _write_pair(output, plan, lattice, np.random.default_rng((seed, number)))
        log.info("pair %d of %d written: %s", number + 1, len(PAIRS), plan.name)
    path = output / f"{TASK_NAME}_dataset.json"
    atomic_write_text(path, json.dumps(dataset_json(PAIRS, lattice.shape), indent=2) + "\n")
    return path


def _write_pair(output: Path, plan: PairPlan, lattice: Lattice, rng: np.random.Generator) -> None:
    patients = plan.patients(rng)
    deformation = plan.deformation(rng)
    fixed_anatomy, moving_anatomy = Anatomy.of(patients[0]), Anatomy.of(patients[1])
    fixed = render(plan.fixed[1], fixed_anatomy, deformation, lattice, rng)
    moving = render(plan.moving[1], moving_anatomy, SmoothDeformation(), lattice, rng)
    _write_image(output, plan.fixed, fixed, lattice)
    _write_image(output, plan.moving, moving, lattice)
    if not plan.same_patient:
        return
    points = pair_landmarks(moving_anatomy, deformation, lattice, fixed, moving, rng)
    for image, voxels in zip((plan.fixed, plan.moving), points, strict=True):
        write_landmarks(output / "landmarksTr" / f"{image_name(*image)}.csv", voxels)
    name = "_".join(
        ("disp", *(image_name(*image).removeprefix(f"{TASK_NAME}_") for image in (plan.fixed, plan.moving)))
    )
    grid = Grid(lattice.shape, lattice.affine)
    write_field(output / "fieldsTr" / f"{name}.nii.gz", true_field(deformation, lattice), grid, grid)


def _write_image(
    output: Path, image: tuple[int, Modality], rendered: RenderedImage, lattice: Lattice
) -> None:
    name = f"{image_name(*image)}.nii.gz"
    grid = Grid(lattice.shape, lattice.affine)
    write_volume(output / "imagesTr" / name, np.rint(rendered.intensities), grid, np.int16)
    write_volume(output / "labelsTr" / name, rendered.organs, grid, np.uint8)
    write_volume(output / "masksTr" / name, rendered.mask, grid, np.uint8)
