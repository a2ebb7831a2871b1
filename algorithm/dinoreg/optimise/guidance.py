"""Feature distances of fixed and warped moving images as terms of an objective (Koegl et al. 2024).

The features of a warped image are not the warped features of the image. "dynamic" warps the image and encodes
it anew in every iteration, with gradients through the encoder; "static" encodes once and warps the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.optimise.data_term import DataTerm, Sample, warp_linear
from dinoreg.optimise.similarity import Similarity
from dinoreg.space.separable import apply_along_axes, interpolation_matrix

# (1, *S) image -> (C, *T) features over the same extent; T is not always S.
Encode = Callable[[Tensor], Tensor]
Distance = Literal["cosine", "l1"]
Order = Literal["dynamic", "static"]


def feature_distance(fixed: Tensor, kind: Distance) -> Similarity:
    """Return the mean distance of feature vectors, with the features of the fixed image bound.

    "cosine" is 1 - the cosine of their angle, in [0, 2]; "l1" the mean absolute difference per channel.

    Args:
        fixed: (C, *T).
        kind: of the distance.
    """

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        if kind == "cosine":
            each = 1 - F.cosine_similarity(warped, fixed, dim=0).unsqueeze(0)
        else:
            each = (warped - fixed).abs().mean(dim=0, keepdim=True)
        if weight is None:
            return each.mean()
        return (each * weight).sum() / weight.sum().clamp(min=1e-6)

    return distance


def feature_term(
    encode: Encode,
    fixed: Tensor,
    moving: Tensor,
    *,
    kind: Distance = "cosine",
    order: Order = "dynamic",
    weight: Tensor | None = None,
    sample: Sample = warp_linear,
) -> DataTerm:
    """Return the distance of the features of fixed and of moving at x + u(x).

    Args:
        encode: frozen, differentiable where `order` is "dynamic".
        fixed: (1, *S) image.
        moving: (1, *S) image on the same lattice.
        kind: of the distance.
        order: "dynamic": warp, then encode; "static": encode, then warp.
        weight: (1, *S), the voxels that count, or None.
        sample: how moving is read at x + u(x).
    """
    with torch.no_grad():
        fixed_features = encode(fixed)
        target = fixed_features.shape[1:]
        weight = None if weight is None else stretch(weight, target)
    distance = feature_distance(fixed_features, kind)
    if order == "dynamic":
        return lambda displacement: distance(encode(sample(moving, displacement)), weight)
    with torch.no_grad():
        moving_features = encode(moving)
    scale = [t / s for t, s in zip(target, fixed.shape[1:], strict=True)]

    def static(displacement: Tensor) -> Tensor:
        cells = displacement.new_tensor(scale).view(-1, *([1] * len(scale)))
        return distance(sample(moving_features, stretch(displacement, target) * cells), weight)

    return static


def sum_terms(weighted: Sequence[tuple[float, DataTerm]]) -> DataTerm:
    """Return the weighted sum of terms; those of weight 0 are not computed."""
    used = [(weight, term) for weight, term in weighted if weight != 0]
    return lambda displacement: torch.stack([w * term(displacement) for w, term in used]).sum()


def slice_features(encoder: SliceEncoder, *, grid: int) -> Encode:
    """Let a 2D token encoder see an image whose longer side makes `grid` patches.

    The image is resized to an exact multiple of the patch size, its pixels as square as before, as nearly as
    that allows (Koegl et al. 2024: 64 x 64 patches for square images). Of a volume every slice across the
    last axis is encoded.

    Args:
        encoder: of slices in [0, 1].
        grid: patches along the longer side.

    Returns:
        A function (1, I, J) -> (C, h, w) or (1, I, J, K) -> (C, h, w, K), one vector per patch.
    """

    def encode(image: Tensor) -> Tensor:
        longer = max(image.shape[1:3])
        patches = [max(1, math.ceil(grid * n / longer - 0.5)) for n in image.shape[1:3]]
        size = [encoder.patch_size * n for n in patches]
        slices = image.reshape(1, *image.shape[1:3], -1).movedim(3, 0)
        shrinks = any(a < b for a, b in zip(size, image.shape[1:3], strict=True))
        slices = F.interpolate(slices, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
        tokens: SliceTokens = encoder(slices)
        found = tokens.patches.movedim(0, -1)
        return found if image.ndim == 4 else found[..., 0]

    return encode


def stretch(volume: Tensor, shape: Sequence[int]) -> Tensor:
    """Interpolate (C, *S) linearly to another lattice over the same extent, (C, *shape)."""
    sizes = zip(volume.shape[1:], shape, strict=True)
    matrices = [interpolation_matrix(t, s, t / s, device=volume.device).to(volume.dtype) for s, t in sizes]
    return apply_along_axes(volume, matrices)
