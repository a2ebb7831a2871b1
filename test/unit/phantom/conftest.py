"""One pair on a grid around the upper abdomen, and a whole task on a coarse grid."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from dinoreg.phantom import Anatomy, Lattice, PatientVariation, RenderedImage, SmoothDeformation, render
from dinoreg.phantom import task as task_module


@pytest.fixture(scope="session")
def coarse_sizes() -> MappingProxyType:
    """Sizes to put in place of the task's own, for speed."""
    return MappingProxyType({"small": ((30, 24, 28), (11.2, 11.8, 12.0))})


@dataclass(frozen=True)
class Pair:
    lattice: Lattice
    anatomy: Anatomy
    deformation: SmoothDeformation
    fixed: RenderedImage
    moving: RenderedImage


@pytest.fixture(scope="session")
def pair() -> Pair:
    rng = np.random.default_rng(11)
    lattice = Lattice.centred((78, 58, 46), (3.6, 3.8, 4.1), (2.0, -5.0, 42.0))
    anatomy = Anatomy.of(PatientVariation.sample(rng))
    deformation = SmoothDeformation.breathing(rng, breath_mm=18, wobble_mm=7, translation=(5.0, -3.0, 9.0))
    fixed = render("CT", anatomy, deformation, lattice, rng)
    moving = render("CT", anatomy, SmoothDeformation(), lattice, rng)
    return Pair(lattice, anatomy, deformation, fixed, moving)


@pytest.fixture(scope="session")
def coarse_task(
    tmp_path_factory: pytest.TempPathFactory, coarse_sizes: MappingProxyType
) -> tuple[Path, dict]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_module, "_SIZES", coarse_sizes)
        path = task_module.write_phantom_task(tmp_path_factory.mktemp("task") / "new", seed=5, size="small")
    return path.parent, json.loads(path.read_text(encoding="utf-8"))
