"""Feature distances of fixed and warped moving images as terms of an objective (Koegl et al. 2024).

The features of a warped image are not the warped features of the image. "dynamic" warps the image and encodes
it anew in every iteration, with gradients through the encoder; "static" encodes once and warps the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.encoders.source import Guide
from dinoreg.optimise.data_term import DataTerm, Sample, warp_linear
from dinoreg.optimise.similarity import Similarity
from dinoreg.space.separable import apply_along_axes, interpolation_matrix

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
    encode: Guide,
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


def stretch(volume: Tensor, shape: Sequence[int]) -> Tensor:
    """Interpolate (C, *S) linearly to another lattice over the same extent, (C, *shape)."""
    sizes = zip(volume.shape[1:], shape, strict=True)
    matrices = [interpolation_matrix(t, s, t / s, device=volume.device).to(volume.dtype) for s, t in sizes]
    return apply_along_axes(volume, matrices)
