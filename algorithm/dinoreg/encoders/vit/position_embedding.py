"""Position embeddings of DINOv2 on any grid of patches, as the official code interpolates them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# The official code adds it to the new size, so that rounding cannot lose a patch; the published features of
# models without registers include the small stretch that it causes.
_OFFSET = 0.1


def interpolate_position(
    table: Float[Tensor, "1 n c"], shape: tuple[int, int], *, registers: bool
) -> Float[Tensor, "1 m c"]:
    """Interpolate the position embedding to a grid of patches, in float32 whatever the table's type.

    DINOv2's `interpolate_pos_encoding` (Oquab et al. 2023): models without registers are bicubic with the
    scale (n + 0.1) / n0 and without anti-aliasing; models with registers are bicubic with anti-aliasing. In
    torch that is also another bicubic kernel (a = -0.5 instead of -0.75), so both differ on finer grids too.
    Nothing is done on the square grid of the training.

    Args:
        table: (1, 1 + n0 * n0, channels); row 0 belongs to the cls token.
        shape: (rows, columns) of patches.
        registers: whether the model has register tokens.

    Returns:
        (1, 1 + rows * columns, channels) of the table's type.
    """
    trained = round((table.shape[1] - 1) ** 0.5)
    if shape == (trained, trained):
        return table
    patches = table[:, 1:].float().reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    if registers:
        resized = F.interpolate(patches, size=shape, mode="bicubic", antialias=True)
    else:
        scale = [(n + _OFFSET) / trained for n in shape]
        resized = F.interpolate(patches, scale_factor=scale, mode="bicubic", antialias=False)
    rows = resized.flatten(2).transpose(1, 2).to(table.dtype)
    return torch.cat([table[:, :1], rows], dim=1)
