"""A 2D token encoder as a differentiable function of an image, to guide a free-form deformation."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.source import Guide


def slice_features(encoder: SliceEncoder, *, grid: int, axis: int = 2) -> Guide:
    """Let a 2D token encoder see an image whose longer side makes `grid` patches.

    The image is resized to an exact multiple of the patch size, its pixels as square as before, as nearly as
    that allows (Koegl et al. 2024: 64 x 64 patches for square images). Of a volume every slice across
    one axis is encoded.

    Args:
        encoder: of slices in [0, 1].
        grid: patches along the longer side.
        axis: across the slices of a volume.

    Returns:
        A function (1, I, J) -> (C, h, w) or, with axis 2, (1, I, J, K) -> (C, h, w, K), one vector per patch.
    """

    def encode(image: Tensor) -> Tensor:
        volume = image.ndim == 4
        image = image.movedim(axis + 1, -1) if volume else image
        longer = max(image.shape[1:3])
        patches = [max(1, math.ceil(grid * n / longer - 0.5)) for n in image.shape[1:3]]
        size = [encoder.patch_size * n for n in patches]
        slices = image.reshape(1, *image.shape[1:3], -1).movedim(3, 0)
        shrinks = any(a < b for a, b in zip(size, image.shape[1:3], strict=True))
        slices = F.interpolate(slices, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
        tokens: SliceTokens = encoder(slices)
        found = tokens.patches.movedim(0, -1)
        return found.movedim(-1, axis + 1) if volume else found[..., 0]

    return encode
