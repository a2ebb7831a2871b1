"""One view of an anatomy: intensities in [0, 1] and where the body is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dinoreg.pretrain.anatomy.labels import LabelVolume
from dinoreg.pretrain.views.artefacts import degrade
from dinoreg.pretrain.views.contrast import Contrast, draw_contrast
from dinoreg.space.sampling import sample_linear

_TILE = 48  # voxels after which a texture repeats


@dataclass(frozen=True, slots=True, eq=False)
class RenderedView:
    """A view as the network sees it.

    Attributes:
        image: (S, S, S) in [0, 1], 0 where nothing is seen.
        seen: (S, S, S) bool, inside the body and the field of view.
    """

    image: Tensor
    seen: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """Textures of one anatomy, which move with its tissue: a fine one and a coarse one.

    Attributes:
        tiles: (2, 49, 49, 49), periodic, standard deviation 1.
        frequency: cells of a tile per voxel of the anatomy, of each.
    """

    tiles: Tensor
    frequency: tuple[float, float]


def draw_textures(rng: np.random.Generator) -> Textures:
    """Draw textures; different for every pair of views."""
    tiles = []
    for _ in range(2):
        noise = gaussian_filter(
            rng.standard_normal((_TILE,) * 3, dtype=np.float32), float(rng.uniform(0.7, 2.0)), mode="wrap"
        )
        tiles.append(np.pad(noise / noise.std(), (0, 1), mode="wrap"))
    fine, coarse = float(rng.uniform(0.5, 1.2)), float(rng.uniform(0.1, 0.4))
    return Textures(torch.from_numpy(np.stack(tiles)), (fine, coarse))


def read_labels(volume: LabelVolume, positions: Tensor) -> NDArray[np.uint8]:
    """Return the ids at positions (3, *S), voxels of the volume; 0 outside it."""
    nearest = positions.round().to(torch.int32).numpy()
    inside = np.ones(nearest.shape[1:], bool)
    flat = np.zeros(nearest.shape[1:], np.int32)
    for axis, size in enumerate(volume.ids.shape):
        inside &= (nearest[axis] >= 0) & (nearest[axis] < size)
        flat = flat * size + nearest[axis]
    ids: NDArray[np.uint8] = volume.ids.ravel()[np.where(inside, flat, 0)]
    return np.where(inside, ids, np.uint8(0))


def render_view(
    ids: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    positions: Tensor,
    textures: Textures,
    field: Tensor,
    rng: np.random.Generator,
) -> RenderedView:
    """Make an image of labelled voxels in a contrast of its own.

    Args:
        ids: (S, S, S).
        kinds: of each id.
        positions: (3, S, S, S) voxels of the anatomy, for the textures.
        textures: of the anatomy.
        field: (S, S, S) bool, the field of view.
        rng: source of contrast and artefacts.
    """
    contrast = draw_contrast(kinds, rng)
    image = torch.from_numpy(contrast.mean[ids])
    for channel, frequency in enumerate(textures.frequency):
        where = torch.remainder(positions * frequency, _TILE)
        texture = sample_linear(textures.tiles[channel : channel + 1], where)[0]
        image += torch.from_numpy(contrast.texture[ids, channel]) * texture
    body = torch.from_numpy(ids > 0)
    image = degrade(image, rng, is_ct=contrast.is_ct)
    image = _window(image, body, contrast, rng)
    seen = body & field
    # The registration sets what lies outside the foreground to 0; its mask may be missing or rough.
    shown = seen if rng.random() < 0.75 else field
    return RenderedView(torch.where(shown, image, 0.0), seen)


def _window(image: Tensor, body: Tensor, contrast: Contrast, rng: np.random.Generator) -> Tensor:
    """Bring an image to [0, 1] as the registration does: CT by a window, MR by a percentile."""
    if contrast.is_ct:
        image = (image - rng.normal(scale=0.03)) * rng.uniform(0.9, 1.1)
    elif bool(body.any()):
        values = image[body]
        top = torch.quantile(values[:: 1 + len(values) // 20_000], float(rng.uniform(0.94, 0.995)))
        image = image / top.clamp(min=0.05)
    image = image.clamp(0, 1)
    if rng.random() < 0.5:
        image = image ** float(np.exp(rng.uniform(-0.35, 0.35)))
    return image
