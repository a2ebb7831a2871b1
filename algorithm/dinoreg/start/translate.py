"""What the starts that find a translation have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.space.deformation import Deformation
from dinoreg.space.lattice import Lattice


@dataclass(frozen=True, slots=True)
class TranslationFacts:
    """The translation that was found, millimetres along the array axes."""

    translation_mm: tuple[float, ...]


def translated(start: Deformation, cells: Sequence[float] | Tensor) -> Deformation:
    """Return the deformation that moves by a translation, then by the start; (rank,) cells."""
    like = start.vectors
    return start.shifted(torch.as_tensor(cells, dtype=like.dtype, device=like.device))


def in_mm(cells: Sequence[float] | Tensor, lattice: Lattice) -> tuple[float, ...]:
    """Return a translation in cells as millimetres along the array axes."""
    spacing = torch.tensor(lattice.spacing_mm)
    return tuple((torch.as_tensor(cells, dtype=spacing.dtype, device="cpu") * spacing).tolist())
