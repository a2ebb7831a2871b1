"""A prepared image where a displacement brought it."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.preprocess.foreground import content_box
from dinoreg.preprocess.prepare import PreparedImage, is_blanked
from dinoreg.space.features import Features, warp_features
from dinoreg.space.lattice import Lattice


def moved_along(image: PreparedImage, displacement: Float[Tensor, "3 i j k"]) -> PreparedImage:
    """Read an image where a displacement leads, beyond its ends the value there; that is no foreground.

    Where what lies beside the foreground was blanked, its edge stays as sharp as it is: the blank has no part
    in the values beside it.

    Args:
        image: (I, J, K).
        displacement: (3, I, J, K) voxels, pull; it is read on its device.
    """
    voxels = Lattice(image.values.shape, (1, 1, 1), (1.0, 1.0, 1.0))
    foreground = torch.from_numpy(image.foreground)
    shown = foreground if image.beyond is None else foreground | torch.from_numpy(image.beyond)
    values = torch.stack([torch.from_numpy(image.values), shown.float()]).to(displacement.device)
    weight = foreground[None].float().to(displacement.device)
    read = warp_features(Features(values, weight, voxels), displacement)
    inside = (read.weight[0] > 0.5).cpu()
    read_values, share = read.values.cpu()
    if is_blanked(image):
        read_values = torch.where(share > 0.5, read_values / share.clamp(min=0.5), 0)
    beyond = None if image.beyond is None else ((share > 0.5) & ~inside).numpy()
    moved = read_values.numpy()
    return replace(
        image,
        values=moved,
        foreground=inside.numpy(),
        content=content_box(moved),
        identity="",
        beyond=beyond,
    )
