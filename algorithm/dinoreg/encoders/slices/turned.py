"""Slices as a reader sees them: cut and turned by the patient's directions, however the image is stored.

A 2D encoder sees another picture in a mirrored or transposed slice. Images are therefore turned to right,
anterior, superior before they are cut, and the tokens are turned back to the array's own axes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.slices.slice_plan import SlicePlan
from dinoreg.encoders.slices.slicewise import TokenVolume
from dinoreg.space.orientation import from_ras, ras_axes, to_ras

Bounds = tuple[int, int]


def array_to_ras(array: NDArray[np.generic], orientation: str) -> NDArray[np.generic]:
    """Turn (I, J, K) of an orientation to (R, A, S), in memory of its own."""
    turned: NDArray[np.generic] = to_ras(torch.from_numpy(array).unsqueeze(0), orientation)[0].numpy()
    return np.ascontiguousarray(turned)


def tokens_from_ras(volume: TokenVolume, orientation: str) -> TokenVolume:
    """Turn the tokens of an image in (R, A, S) to the axes of an orientation."""
    plan = volume.plan
    first, second = plan.plane
    stack = (plan.axis + 1, first + 1, second + 1)
    turned = plan_from_ras(plan, orientation)
    back = [turned.axis + 1, *(a + 1 for a in turned.plane)]

    def turn(values: Tensor) -> Tensor:
        """(n, C, h, w) of slices to the same of the turned plan."""
        in_ras = values.transpose(0, 1).movedim((1, 2, 3), stack)
        return from_ras(in_ras, orientation).movedim(back, (1, 2, 3)).transpose(0, 1).contiguous()

    cls = turn(volume.cls[:, :, None, None])[:, :, 0, 0]
    return TokenVolume(turn(volume.patches), cls, turn(volume.share.unsqueeze(1))[:, 0], turned)


def plan_from_ras(plan: SlicePlan, orientation: str) -> SlicePlan:
    """Describe the same slices and patches on the axes of an orientation."""
    axes, falls = ras_axes(orientation)
    sizes = dict(zip(axes, plan.image_shape, strict=True))
    patches = dict(zip((axes[a] for a in plan.plane), plan.patches, strict=True))
    along = dict(zip((axes[a] for a in plan.plane), plan.crop, strict=True))
    mirrored = {axes[a] for a in range(3) if falls[a]}

    def bounds(axis: int, of: Bounds) -> Bounds:
        start, stop = of
        return (sizes[axis] - stop, sizes[axis] - start) if axis in mirrored else of

    axis = axes[plan.axis]
    indices = plan.indices
    if axis in mirrored:
        indices = tuple(sizes[axis] - 1 - index for index in reversed(indices))
    turned = replace(
        plan,
        image_shape=tuple(sizes[a] for a in range(3)),
        axis=axis,
        indices=indices,
        extent=bounds(axis, plan.extent),
    )
    first, second = turned.plane
    return replace(
        turned,
        crop=(bounds(first, along[first]), bounds(second, along[second])),
        patches=(patches[first], patches[second]),
    )
