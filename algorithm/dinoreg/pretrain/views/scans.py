"""Views of one's own scans: the scan itself, its intensities remapped at random in each view."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.errors import ConfigError
from dinoreg.preprocess.foreground import threshold_foreground
from dinoreg.preprocess.intensity import clip_mr, image_kind, window_ct
from dinoreg.pretrain.settings import ViewSettings
from dinoreg.pretrain.views.artefacts import degrade
from dinoreg.pretrain.views.geometry import draw_geometries, draw_voxel_mm, show_enough
from dinoreg.pretrain.views.pair import ViewPair, assemble, draw_field
from dinoreg.pretrain.views.render import RenderedView
from dinoreg.space.lattice import pool
from dinoreg.space.sampling import sample_linear
from regtask.errors import Fault
from regtask.images import read_volume

log = logging.getLogger(__name__)

_SUFFIXES = (".nii", ".nii.gz")
_LEVELS = 8  # brightness levels that get about as many points each
_WIDTH = 4  # channels of the random network


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One scan, ready to be viewed.

    Arrays, not tensors: each tensor that goes to another process would keep a file descriptor open there.

    Attributes:
        name: of its file.
        values: (I, J, K) in [0, 1].
        foreground: (I, J, K), the body.
        from_ras: (3, 3), RAS millimetres to voxels, but for a shift: the middles of views are random.
    """

    name: str
    values: NDArray[np.float16]
    foreground: NDArray[np.bool_]
    from_ras: NDArray[np.float64]


def read_scans(folder: Path, settings: ViewSettings) -> list[Scan]:
    """Read all NIfTI volumes of a folder, sorted by name; their modality is told by their values.

    Args:
        folder: of *.nii and *.nii.gz.
        settings: of the views, which say how finely the scans are kept.

    Raises:
        ConfigError: no folder, or no volume in it.
        DataError: a file is damaged.
    """
    paths = sorted(p for p in folder.glob("*") if p.name.endswith(_SUFFIXES)) if folder.is_dir() else []
    if not paths:
        raise ConfigError(
            Fault("no scans to train on", str(folder), expected="a folder with *.nii or *.nii.gz", got="none")
        )
    log.info("reading %d scans", len(paths))
    finest_mm = settings.voxel_mm[0]
    scans = []
    for path in paths:
        scan = read_scan(path, finest_mm)
        extent_mm = scan.values.shape * np.linalg.norm(np.linalg.inv(scan.from_ras), axis=0)
        if extent_mm.min() < settings.size * finest_mm / 2:
            log.warning("%s is %.0f x %.0f x %.0f mm, too short for half of a view", path.name, *extent_mm)
        scans.append(scan)
    return scans


def read_scan(path: Path, finest_mm: float) -> Scan:
    """Read one NIfTI volume, its voxels averaged to the largest that are not larger than `finest_mm`.

    Raises:
        DataError: damaged.
    """
    volume = read_volume(path)
    kind = image_kind("", volume.data)
    foreground = threshold_foreground(volume.data, kind)
    if kind == "ct":
        values = window_ct(volume.data, level_hu=50, width_hu=400)
    else:
        values = clip_mr(volume.data, percentile=99, foreground=foreground)
    # A little more than the quotient: the spacing comes from a header of float32.
    stride = [max(1, math.floor(finest_mm / spacing + 1e-3)) for spacing in volume.grid.spacing_mm]
    return Scan(
        path.name,
        _pooled(values, stride).astype(np.float16),
        _pooled(foreground.astype(np.float32), stride) > 0.5,
        np.linalg.inv(volume.grid.affine[:3, :3]) / np.reshape(stride, (3, 1)),
    )


def draw_scan_pair(scan: Scan, settings: ViewSettings, rng: np.random.Generator) -> ViewPair:
    """Draw two views of a scan, different in intensities, geometry, field of view and artefacts."""
    linear = scan.from_ras * draw_voxel_mm(settings, rng)
    for geometry in draw_geometries(linear, scan.values.shape, settings, rng):
        (first, first_body), (second, second_body) = (
            _read(scan, positions) for positions in (geometry.first, geometry.second)
        )
        if show_enough(first_body.numpy(), second_body.numpy()):
            break
    # For the balance of the points: brightness in place of structures.
    levels = (second * (_LEVELS - 1)).round().to(torch.uint8).numpy() + np.uint8(1)
    views = [
        _view(image, body, settings, rng) for image, body in ((first, first_body), (second, second_body))
    ]
    return assemble(views[0], views[1], geometry, levels, settings, rng)


def remap(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Give an image (S, S, S) another contrast by a small random network (Ouyang et al. 2022, GIN)."""
    out = image[None, None]
    for inputs, outputs in ((1, _WIDTH), (_WIDTH, _WIDTH), (_WIDTH, 1)):
        size = int(rng.choice([1, 3]))
        weight = rng.standard_normal((outputs, inputs, size, size, size), dtype=np.float32)
        offset = rng.standard_normal(outputs, dtype=np.float32)
        out = F.conv3d(out, torch.from_numpy(weight), padding=size // 2) + torch.from_numpy(offset).view(
            1, -1, 1, 1, 1
        )
        if outputs > 1:
            out = F.leaky_relu(out, 0.1)
    share = float(rng.random())
    mixed: Tensor = share * _to_unit(out[0, 0]) + (1 - share) * image
    return mixed


def _to_unit(image: Tensor) -> Tensor:
    low, high = torch.quantile(image.flatten()[::7], torch.tensor([0.01, 0.99]))
    unit: Tensor = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return unit


def _pooled(volume: NDArray[np.float32], stride: list[int]) -> NDArray[np.float32]:
    averaged: NDArray[np.float32] = pool(torch.from_numpy(volume)[None], stride)[0].numpy()
    return averaged


def _read(scan: Scan, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Read a scan at positions, (3, S, S, S) voxels: its values and where the body is, (S, S, S)."""
    # Only what is around the positions is turned into float32.
    flat, last = positions.flatten(1).numpy(), np.array(scan.values.shape) - 1
    low, high = (np.clip(np.floor(p), 0, last).astype(int) for p in (flat.min(axis=1), flat.max(axis=1) + 1))
    box = tuple(slice(start, stop + 1) for start, stop in zip(low, high, strict=True))
    both = torch.from_numpy(np.stack([scan.values[box], scan.foreground[box]]).astype(np.float32))
    values, body = sample_linear(both, positions - torch.from_numpy(low).view(3, 1, 1, 1))
    sizes = torch.from_numpy(last + 1).view(3, 1, 1, 1)
    inside = ((positions > -0.5) & (positions < sizes - 0.5)).all(dim=0)
    return values, (body > 0.5) & inside


def _view(image: Tensor, body: Tensor, settings: ViewSettings, rng: np.random.Generator) -> RenderedView:
    seen = body & draw_field(settings, rng)
    degraded = degrade(remap(image, rng), rng, is_ct=False).clamp(0, 1)
    return RenderedView(torch.where(seen, degraded, 0.0), seen)
