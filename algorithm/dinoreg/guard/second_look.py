"""How far another optimisation still moves what a displacement says is in place.

How alike matched places are does not tell how far they lie apart: a displacement that is wrong by some
millimetres leaves features nearly as alike as a right one. Where an optimisation from there leads to does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.encoders.ensemble import encode_pair
from dinoreg.encoders.pool import EncoderPool
from dinoreg.guard.size import body_mm
from dinoreg.optimise.instance.stage import InstanceOptimisation
from dinoreg.preprocess.moved import moved_along
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.config import Adam, Config
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import warp_weight
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice

_MOST = 0.9  # of the cells: what is moved further may be noise


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is still moved, as `guard.verdict.Evidence` has it."""

    remaining_mm: float
    remaining_most_mm: float
    body_mm: float


def look_again(
    images: tuple[PreparedImage, PreparedImage],
    frame: Frame,
    lattice: Lattice,
    vectors: Float[Tensor, "3 i j k"],
    config: Config,
) -> Remaining | None:
    """Bring moving to where it is said to belong, and optimise once more from there.

    Args:
        images: fixed and moving, (I, J, K).
        frame: of the pair.
        lattice: over the box of the frame, that is optimised on.
        vectors: the displacement, (3, I, J, K) voxels, pull.
        config: how features are made and, by its first Adam stage, compared.

    Returns:
        None where no cell shows both images.
    """
    device = vectors.device
    pair = images[0], moved_along(images[1], vectors)
    sources = EncoderPool(device).sources(config.features.encoders)
    features = encode_pair(sources, config.features, pair, frame, lattice, device).features
    measured = config.features.intensities == "measured"
    settings = config.adam[0]
    assert isinstance(settings, Adam)
    stage = InstanceOptimisation(settings, lattice, config.masked, measured)
    found = stage.run(Deformation.identity(lattice, device=device), features, frame).deformation.vectors
    seen = features.joined
    shown = (seen.fixed.weight * warp_weight(seen.moving, found))[0] > 0.5
    if not bool(shown.any()):
        return None
    size_mm = torch.tensor(lattice.spacing_mm, device=device)[:, None]
    lengths = (found[:, shown] * size_mm).norm(dim=0).cpu().numpy()
    size = body_mm(seen.fixed.weight[0] > 0.5, lattice)
    return Remaining(float(lengths.mean()), float(np.quantile(lengths, _MOST)), size)
