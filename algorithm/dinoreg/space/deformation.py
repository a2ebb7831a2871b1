"""A deformation: displacement vectors and the lattice that they live on, never one without the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.compose import compose
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, resize_displacement


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """A pull displacement, fixed to moving, identity not included.

    Attributes:
        vectors: (rank, *lattice.shape), cells of the lattice.
        lattice: where they are.
    """

    vectors: Float[Tensor, "rank *s"]
    lattice: Lattice

    @classmethod
    def identity(cls, lattice: Lattice, *, device: torch.device | str = "cpu") -> Self:
        """Return the deformation that moves nothing."""
        return cls(torch.zeros(len(lattice.shape), *lattice.shape, device=device), lattice)

    def on(self, lattice: Lattice) -> Deformation:
        """Bring it to another lattice over the same voxels; positions and lengths in millimetres stay."""
        return Deformation(resize_displacement(self.vectors, self.lattice, lattice), lattice)

    def after(self, first: Float[Tensor, "rank *s"]) -> Deformation:
        """Return the deformation that moves by `first`, then by this one (see `space.compose.compose`).

        Args:
            first: (rank, *lattice.shape) cells of this lattice.
        """
        return Deformation(compose(first, self.vectors), self.lattice)

    def shifted(self, shift: Tensor) -> Deformation:
        """Return the deformation that moves by a translation, then by this one; (rank,) cells."""
        everywhere = shift.view(-1, *([1] * (self.vectors.ndim - 1))).expand_as(self.vectors)
        return self.after(everywhere.contiguous())

    def to_voxels(self, frame: Frame) -> Float[Tensor, "rank *s"]:
        """Return the vectors on the whole image of a frame, (3, *frame.image_shape) voxels.

        Beyond the box of the frame the vectors at its border hold.
        """
        around = [(start, n - stop) for (start, stop), n in zip(frame.box, frame.image_shape, strict=True)]
        return held_beyond(self.on(frame.voxels).vectors, around)


def held_beyond(vectors: Float[Tensor, "rank *s"], margins: Sequence[tuple[int, int]]) -> Tensor:
    """Return vectors with so many voxels more before and after along each axis; those at the border hold."""
    padding = [count for margin in reversed(margins) for count in margin]
    return F.pad(vectors.unsqueeze(0), padding, mode="replicate").squeeze(0) if any(padding) else vectors


def mean_deformation(deformations: list[Deformation], shares: list[float]) -> Deformation:
    """Return the weighted mean of deformations, on the lattice of the first; one alone comes back as it is.

    Args:
        deformations: at least one, over the same voxels.
        shares: of each, sum 1.
    """
    if len(deformations) == 1:
        return deformations[0]
    lattice = deformations[0].lattice
    vectors = [share * one.on(lattice).vectors for share, one in zip(shares, deformations, strict=True)]
    return Deformation(torch.stack(vectors).sum(dim=0), lattice)
