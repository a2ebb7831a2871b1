"""The last step: a displacement on the voxels of the image, finite and without folds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.errors import NumericalError
from dinoreg.guard.folds import repair_folds
from dinoreg.settings.config import Guard
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from regtask.errors import Fault


@dataclass(frozen=True, slots=True)
class FoldsBefore:
    """Folded cells of the last lattice, and folded voxels, before the repair."""

    voxels: int
    cells: int | None = None


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """What was repaired, and what is left.

    Attributes:
        folds_before_repair: on the lattice and on the voxels.
        folds: voxels that are folded still.
        folding_percent: share of them.
        largest_repair_mm: largest change of the displacement along an axis.
    """

    folds_before_repair: FoldsBefore
    folds: int
    folding_percent: float
    largest_repair_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A displacement, (3, I, J, K) voxels of the image, and what was done to it."""

    vectors: Tensor
    facts: GuardFacts


def guard_deformation(deformation: Deformation, frame: Frame, settings: Guard) -> Guarded:
    """Check and repair a deformation, and bring it to the voxels of the whole image.

    Raises:
        NumericalError: it is not finite.
    """
    if not bool(torch.isfinite(deformation.vectors).all()):
        raise NumericalError(Fault("displacement not finite", "guard", remedy="use a smaller learning_rate"))
    # On the lattice first, where it costs an eighth or less; what interpolation leaves is repaired after it.
    limit = settings.max_folding_percent / 100
    vectors, coarse = repair_folds(deformation.vectors, max_fraction=limit)
    voxels = Deformation(vectors, deformation.lattice).to_voxels(frame)
    vectors, fine = repair_folds(voxels, max_fraction=limit)
    facts = GuardFacts(
        folds_before_repair=FoldsBefore(cells=coarse.before, voxels=fine.before),
        folds=fine.after,
        folding_percent=100 * fine.after / fine.voxels,
        largest_repair_mm=max(
            coarse.largest_change * max(deformation.lattice.spacing_mm),
            fine.largest_change * max(frame.spacing_mm),
        ),
    )
    return Guarded(vectors, facts)


def guard_voxels(vectors: Tensor, spacing_mm: tuple[float, ...], settings: Guard) -> Guarded:
    """Repair a displacement that was brought to other voxels, between which it can fold anew.

    Args:
        vectors: (3, I, J, K) voxels.
        spacing_mm: of the voxels.
        settings: the limit.
    """
    vectors, folds = repair_folds(vectors, max_fraction=settings.max_folding_percent / 100)
    facts = GuardFacts(
        folds_before_repair=FoldsBefore(voxels=folds.before),
        folds=folds.after,
        folding_percent=100 * folds.after / folds.voxels,
        largest_repair_mm=folds.largest_change * max(spacing_mm),
    )
    return Guarded(vectors, facts)
