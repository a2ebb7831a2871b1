"""What the pictures share: slices as the pipeline sees them, a registered pair, panels, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.source import Guide
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.report.style import JACOBIAN_RANGE, jacobian_map
from dinoreg.settings.config import Config
from dinoreg.settings.load import load_preset
from dinoreg.space.jacobian import jacobian_determinant
from guidance.rows import BASE
from regtask.images import read_volume
from regtask.pair import Pair

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm

# By name, functions of images on the CPU.
Guides = Mapping[str, Guide]


def slice_of(path: Path) -> Tensor:
    """Read a single slice as the pipeline sees it, (1, I, J) in [0, 1] on the CPU."""
    settings = load_preset(BASE).preprocess
    image = prepare_image(read_volume(path).data, settings, modality="MR", mask=None)
    return torch.from_numpy(image.values[..., 0])[None]


def registered(
    pair: Pair, config: Config, device: torch.device, pool: EncoderPool | None = None
) -> NDArray[np.float32]:
    """Return the displacement of a pair of single slices, (I, J, 1, 3) voxels."""
    volumes = [read_volume(path) for path in (pair.fixed, pair.moving)]
    images = [prepare_image(v.data, config.preprocess, modality="MR", mask=None) for v in volumes]
    spacing_mm = volumes[0].grid.spacing_mm
    return register_prepared(*images, spacing_mm, config, device=device, pool=pool).displacement


def in_plane(displacement: NDArray[np.float32]) -> Tensor:
    """Return the displacement of a single slice, (2, I, J) pixels."""
    return torch.from_numpy(displacement[..., 0, :2].copy()).movedim(-1, 0)


def show(axis: Any, plane: Tensor, title: str) -> None:
    """Show a grey image (I, J), its first axis to the right."""
    axis.imshow(plane.T.numpy(), cmap="gray")
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def show_difference(axis: Any, plane: Tensor, title: str) -> None:
    """Show a difference of images in [0, 1], (I, J): red where it is negative."""
    axis.imshow(plane.T.numpy(), cmap="RdBu", vmin=-0.8, vmax=0.8)
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def show_volume_change(axis: Any, displacement: Tensor, title: str) -> Any:
    """Show the Jacobian determinant of a displacement (2, I, J) on a logarithmic scale; returns the image."""
    determinant = jacobian_determinant(displacement).clamp(min=0.01).T.numpy()
    image = axis.imshow(determinant, cmap=jacobian_map(), norm=LogNorm(*JACOBIAN_RANGE))
    axis.set_title(title, fontsize=8)
    axis.axis("off")
    return image


def save(figure: Any, picture: Path) -> None:
    """Write a figure and forget it."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110, bbox_inches="tight")
    plt.close(figure)
