"""Which parts of a view the student does not see."""

from __future__ import annotations

import torch
from torch import Tensor

from dinoreg.encoders.dino3d.network import STRIDE


def draw_hidden(
    count: int,
    size: int,
    block: int,
    share: tuple[float, float],
    generator: torch.Generator,
    stride: int = STRIDE,
) -> Tensor:
    """Hide blocks of each view at random (Zhou et al. 2022, section 3.1).

    A network of convolutions has no tokens to drop: the cells of a hidden block get one learned vector in
    place of what the stem made of them, and the network has to tell them from their surroundings.

    Args:
        count: number of views.
        size: voxels along each axis of a view.
        block: voxels along each axis of a block.
        share: least and most of the blocks of a view that are hidden.
        generator: source of the choice, on the CPU.
        stride: voxels per cell of the network.

    Returns:
        (count, 1, s, s, s) bool over the cells of the network.
    """
    blocks = -(-size // block)
    low, high = share
    wanted = low + (high - low) * torch.rand(count, 1, 1, 1, 1, generator=generator)
    hidden = torch.rand(count, 1, blocks, blocks, blocks, generator=generator) < wanted
    for axis in (2, 3, 4):
        hidden = hidden.repeat_interleave(block, dim=axis).narrow(axis, 0, size)
    return hidden[:, :, ::stride, ::stride, ::stride]


def read_hidden(hidden: Tensor, points: Tensor, stride: int = STRIDE) -> Tensor:
    """Tell which points (N, 3), voxels, lie in hidden cells (s, s, s) of their view; (N,) bool."""
    cells = ((points + 0.5) / stride).long()
    sizes = torch.tensor(hidden.shape, device=points.device)
    i, j, k = cells.clamp(min=0).minimum(sizes - 1).unbind(dim=1)
    return hidden[i, j, k]
