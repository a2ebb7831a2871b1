"""Parameterisations: what the optimiser moves, and the displacement that follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinoreg.space.coords import identity_positions
from dinoreg.space.separable import Border, apply_along_axes, box_matrix


class Parameterisation(nn.Module, ABC):
    """A displacement as a differentiable function of parameters."""

    @abstractmethod
    def displacement(self) -> Float[Tensor, "rank *s"]:
        """Return (rank, *S), cells of the lattice."""


class SmoothedDense(Parameterisation):
    """One vector per cell, smoothed by box filters; three of width 3 come close to a cubic B-spline."""

    def __init__(self, start: Tensor, *, width: int, repeats: int, border: Border = "replicate") -> None:
        """Begin at `start`, (rank, *S) in cells."""
        super().__init__()
        self.vectors = nn.Parameter(start.clone())
        self._smoothing = [
            box_matrix(n, width, repeats, border=border, device=start.device) for n in start.shape[1:]
        ]

    def displacement(self) -> Float[Tensor, "rank *s"]:
        """Return the smoothed vectors."""
        return apply_along_axes(self.vectors, self._smoothing)


class Affine(Parameterisation):
    """u(x) = A (x - centre) + t with rank * (rank + 1) parameters, about the centre of the lattice.

    The matrix is scaled by half the lattice's largest size, so that a step of the optimiser moves a corner
    about as far as it moves the centre.
    """

    def __init__(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        """Begin at the identity on a lattice of `shape`."""
        super().__init__()
        identity = identity_positions(shape, device=device)
        centre = torch.tensor([(n - 1) / 2 for n in shape], device=device).view(-1, *([1] * len(shape)))
        self._scaled = (identity - centre) / (max(shape) / 2)
        rank = len(shape)
        self.matrix = nn.Parameter(torch.zeros(rank, rank, device=device))
        self.translation = nn.Parameter(torch.zeros(rank, device=device))

    def displacement(self) -> Float[Tensor, "rank *s"]:
        """Return the affine displacement, (rank, *S) cells."""
        linear = torch.einsum("ab,b...->a...", self.matrix, self._scaled)
        return linear + self.translation.view(-1, *([1] * self._scaled[0].ndim))
