"""Parameterisations: what the optimiser moves, and the displacement that follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dinoreg.space.separable import apply_along_axes, box_matrix


class Parameterisation(nn.Module, ABC):
    """A displacement as a differentiable function of parameters."""

    @abstractmethod
    def displacement(self) -> Tensor:
        """Return (rank, *S), cells of the lattice."""


class SmoothedDense(Parameterisation):
    """One vector per cell, smoothed by box filters in turn; three of width 3 are close to a cubic B-spline."""

    def __init__(self, start: Tensor, *, width: int, repeats: int) -> None:
        """Begin at `start`, (rank, *S) in cells."""
        super().__init__()
        self.vectors = nn.Parameter(start.clone())
        self._smoothing = [box_matrix(n, width, repeats, device=start.device) for n in start.shape[1:]]

    def displacement(self) -> Tensor:
        """Return the smoothed vectors."""
        return apply_along_axes(self.vectors, self._smoothing)


