"""How good features are, on patients that the training never saw, drawn by the phantom's own scanner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.body.patient import PatientVariation
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.render import Modality, render
from dinoreg.phantom.lattice import Lattice
from dinoreg.preprocess.intensity import clip_mr, window_ct
from dinoreg.pretrain.anatomy.torso import ras_lattice
from dinoreg.pretrain.objective.contrastive import retrieval
from dinoreg.pretrain.objective.sampling import features_at, stride_of

HELD_OUT_SHAPE, HELD_OUT_MM = (96, 80, 96), 3.6
_PAIRS: tuple[tuple[Modality, Modality], ...] = (("CT", "MR"), ("CBCT", "MR"))
_SEED = 20_000_000  # other patients than those of a training, whose numbers come from another stream
_POINTS = 2000
_SPREAD_MM = np.array([30.0, 20.0, 70.0])
_NEAR_MM = 12.0

# From a volume (1, 1, I, J, K) in [0, 1] to features (C, i, j, k), of fewer cells than voxels.
Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """One held-out scan.

    Attributes:
        image: (1, 1, I, J, K) in [0, 1], 0 outside the body.
        organs: (I, J, K) organ labels.
        points: (N, 3) voxels, places of the anatomy.
    """

    image: Tensor
    organs: Tensor
    points: Tensor


# A patient, the same one after a breath, and another patient.
HeldOutPatients = tuple[HeldOut, HeldOut, HeldOut]


@dataclass(frozen=True, slots=True)
class Score:
    """How well places are found again.

    Attributes:
        median_mm: distance between the place found and the true one, same patient in another modality.
        near: share found within 12 mm.
        organ: share of places in organs that are found in the same organ of another patient.
    """

    median_mm: float
    near: float
    organ: float


def held_out_scans() -> list[HeldOutPatients]:
    """Draw, for each pair of modalities: a patient, the same one after a breath, and another patient."""
    return [_triple(n, *modalities) for n, modalities in enumerate(_PAIRS)]


@torch.no_grad()
def score(encode: Encode, scans: list[HeldOutPatients]) -> Score:
    """Judge features by finding points again; the mean over the held-out scans."""
    distances, shares, organs = [], [], []
    for first, second, other in scans:
        one, two, three = (_read(encode, scan) for scan in (first, second, other))
        distance = retrieval(one, two, first.points * HELD_OUT_MM)
        distances.append(float(distance.median()))
        shares.append(float((distance < _NEAR_MM).float().mean()))
        organs.append(_organ_share(one, first, three, other))
    return Score(float(np.mean(distances)), float(np.mean(shares)), float(np.mean(organs)))


def _read(encode: Encode, scan: HeldOut) -> Tensor:
    """Features at the points of a scan, (N, C)."""
    features = encode(scan.image)
    return features_at(features, scan.points, stride_of(scan.image, features))


def _organ_share(features: Tensor, scan: HeldOut, of_other: Tensor, other: HeldOut) -> float:
    """Share of another patient's points that look most like a point of the same organ, mean of organs."""
    wanted, offered = _labels(other), _labels(scan)
    likeness = F.normalize(of_other, dim=1) @ F.normalize(features, dim=1).T
    right = offered[likeness.argmax(dim=1)] == wanted
    shares = [float(right[wanted == organ].float().mean()) for organ in sorted(set(wanted.tolist())) if organ]
    return float(np.mean(shares))


def _labels(scan: HeldOut) -> Tensor:
    i, j, k = scan.points.round().long().unbind(dim=1)
    return scan.organs[i, j, k]


def _triple(number: int, fixed: Modality, moving: Modality) -> HeldOutPatients:
    rng = np.random.default_rng((_SEED, number))
    patients = [
        Anatomy.of(
            PatientVariation(int(rng.integers(_SEED, 2 * _SEED)), 1.3, fat_mm=float(rng.uniform(8, 20)))
        )
        for _ in range(2)
    ]
    breath = SmoothDeformation.breathing(rng, breath_mm=18, wobble_mm=12)
    lattices = [_lattice(rng) for _ in range(3)]
    first = _scan(patients[0], SmoothDeformation(), fixed, lattices[0], rng)
    second = _scan(patients[0], breath, moving, lattices[1], rng)
    other = _scan(patients[1], SmoothDeformation(), moving, lattices[2], rng)
    places = lattices[0].to_mm(first.points.numpy().astype(np.float64))
    moved = lattices[1].to_voxels(breath.inverse_at(places))
    both = torch.from_numpy(lattices[1].contains(moved))
    second = replace(second, points=torch.from_numpy(moved.astype(np.float32))[both])
    return replace(first, points=first.points[both]), second, other


def _lattice(rng: np.random.Generator) -> Lattice:
    """Draw a field of view: where a place lies in the image says little of where it lies in the body."""
    dx, dy, dz = (rng.uniform(-1, 1, size=3) * _SPREAD_MM).tolist()
    return ras_lattice(HELD_OUT_SHAPE, HELD_OUT_MM, (dx, dy - 5, dz + 25))


def _scan(
    anatomy: Anatomy,
    deformation: SmoothDeformation,
    modality: Modality,
    lattice: Lattice,
    rng: np.random.Generator,
) -> HeldOut:
    rendered = render(modality, anatomy, deformation, lattice, rng)
    seen = rendered.mask.astype(bool)
    if modality == "MR":
        image = clip_mr(rendered.intensities, percentile=97, foreground=seen)
    else:
        image = window_ct(rendered.intensities, level_hu=50, width_hu=400)
    organ = rng.choice(np.flatnonzero(rendered.organs), _POINTS // 2, replace=False)
    body = rng.choice(np.flatnonzero(seen), _POINTS // 2, replace=False)
    chosen = np.stack(np.unravel_index(np.concatenate([organ, body]), HELD_OUT_SHAPE), axis=-1)
    masked = torch.from_numpy(np.where(seen, image, np.float32(0)))[None, None]
    points = torch.from_numpy(chosen.astype(np.float32))
    return HeldOut(masked, torch.from_numpy(rendered.organs), points)
