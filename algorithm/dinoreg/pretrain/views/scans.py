"""Views of one's own scans: the scan itself, its intensities remapped at random in each view."""

from __future__ import annotations

import logging
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
from dinoreg.pretrain.views.geometry import draw_geometry
from dinoreg.pretrain.views.pair import ViewPair, assemble, draw_field
from dinoreg.pretrain.views.render import RenderedView
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

    Attributes:
        values: (I, J, K) in [0, 1].
        foreground: (I, J, K), 1 in the body, else 0.
        from_ras: (3, 3), RAS millimetres to voxels.
    """

    values: Tensor
    foreground: Tensor
    from_ras: NDArray[np.float64]


def read_scans(folder: Path) -> list[Scan]:
    """Read all NIfTI volumes of a folder, sorted by name; their modality is told by their values.

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
    return [read_scan(path) for path in paths]


def draw_scan_pair(scan: Scan, settings: ViewSettings, rng: np.random.Generator) -> ViewPair:
    """Draw two views of a scan, different in intensities, geometry, field of view and artefacts."""
    low, high = np.log(settings.voxel_mm)
    linear = scan.from_ras * float(np.exp(rng.uniform(low, high)))
    shape = np.array(scan.values.shape)
    centre = (shape - 1) / 2 + rng.uniform(-0.25, 0.25, size=3) * shape
    geometry = draw_geometry(linear, centre, settings, rng)
    first, _ = _view(scan, geometry.first, settings, rng)
    second, levels = _view(scan, geometry.second, settings, rng)
    return assemble(first, second, geometry, levels, settings, rng)


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


def _view(
    scan: Scan, positions: Tensor, settings: ViewSettings, rng: np.random.Generator
) -> tuple[RenderedView, NDArray[np.uint8]]:
    """Return a view and, for the balance of the points, the brightness level of each of its voxels."""
    both = sample_linear(torch.stack([scan.values, scan.foreground]), positions)
    sizes = torch.tensor(scan.values.shape).view(3, 1, 1, 1)
    inside = ((positions > -0.5) & (positions < sizes - 0.5)).all(dim=0)
    seen = (both[1] > 0.5) & inside & draw_field(settings, rng)
    image = degrade(remap(both[0], rng), rng, is_ct=False).clamp(0, 1)
    levels = (both[0] * (_LEVELS - 1)).round().to(torch.uint8).numpy() + np.uint8(1)
    return RenderedView(torch.where(seen, image, 0.0), seen), levels


def read_scan(path: Path) -> Scan:
    """Read one NIfTI volume.

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
    return Scan(
        torch.from_numpy(values),
        torch.from_numpy(foreground.astype(np.float32)),
        np.asarray(np.linalg.inv(volume.grid.affine[:3, :3]), np.float64),
    )
