"""Where two images of any contrast do not match, from the structure around each voxel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.encoders.mind import MindSsc

_RADIUS, _DILATION = 1, 2
_SEED = 0


def mismatch(fixed: NDArray[np.floating], warped: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the distance of MIND descriptors over that of unrelated places of the same two images.

    Near 0 the images show the same structure; 1 is what chance gives.

    Args:
        fixed: (I, J, K), any intensity unit; axes of size 1 are legal.
        warped: (I, J, K).

    Returns:
        (I, J, K).
    """
    rank = 3 if min(fixed.shape) > 1 else 2
    encoder = MindSsc(radius=_RADIUS, dilation=_DILATION, rank=rank)
    with torch.no_grad():
        codes = [encoder(_tensor(image, rank)).flatten(1) for image in (fixed, warped)]
    distance = (codes[0] - codes[1]).square().mean(0)
    order = torch.randperm(distance.numel(), generator=torch.Generator().manual_seed(_SEED))
    chance = float((codes[0] - codes[1][:, order]).square().mean())
    relative = distance / chance if chance > 0 else distance
    return np.asarray(relative.reshape(fixed.shape).numpy())


def _tensor(image: NDArray[np.floating], rank: int) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    return (tensor if rank == 3 else tensor.squeeze())[None]
