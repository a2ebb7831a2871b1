"""ConvexAdam with the numerics of its public code, to compare ours with (Siebert et al. 2021).

What differs from ours, on purpose (package convexAdam 0.2.0): lattices are cut to whole cells and stretched
back, everything outside is zero, displacements are read n / (n - 1) times as long as they are stored (so the
stored field is too short by 1 % at n = 96), and the field is the one before the last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.optimise.adam import AdamTrace, refine_adam
from dinoreg.optimise.cost_volume import make_cost_volume
from dinoreg.optimise.coupled_convex import solve_coupled_convex
from dinoreg.optimise.data_term import warp_and_compare
from dinoreg.optimise.discrete import ConvexFacts
from dinoreg.optimise.instance.stage import AdamFacts
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.similarity import ssd
from dinoreg.settings.config import PublishedAdam, PublishedDiscrete
from dinoreg.space.coords import identity_positions, to_sampling_grid
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import Features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageResult
from regtask.errors import Fault, SpaceError


@dataclass(frozen=True, slots=True)
class PublishedSearch:
    """The discrete stage; it begins at no displacement.

    Attributes:
        settings: in millimetres.
        lattice: the voxels, where its result is.
        cells: where features are compared.
        radius: cells.
    """

    settings: PublishedDiscrete
    lattice: Lattice
    cells: Lattice
    radius: int
    name: ClassVar[str] = "discrete"
    safe: ClassVar[bool] = False

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Search; see `Stage`."""
        seen = features.on(self.cells)
        iterations = self.settings.consistency_iterations
        vectors = search_published(seen.fixed, seen.moving, self.radius, consistency_iterations=iterations)
        facts = ConvexFacts((self.radius,) * len(self.cells.shape))
        return StageResult(Deformation(vectors, self.lattice), facts)


@dataclass(frozen=True, slots=True)
class PublishedOptimisation:
    """The Adam stage; attributes as those of `PublishedSearch`."""

    settings: PublishedAdam
    lattice: Lattice
    cells: Lattice
    name: ClassVar[str] = "adam"
    safe: ClassVar[bool] = False

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Optimise; see `Stage`."""
        seen = features.on(self.cells)
        vectors, trace = refine_published(
            seen.fixed,
            seen.moving,
            start.vectors,
            regularity_weight=self.settings.regularity_weight,
            iterations=self.settings.iterations,
            learning_rate=self.settings.learning_rate,
        )
        facts = AdamFacts(trace.iterations, trace.losses, self.settings.regularity_weight)
        return StageResult(Deformation(vectors, self.lattice), facts)


def search_published(
    fixed: Features, moving: Features, radius: int, *, consistency_iterations: int
) -> Float[Tensor, "3 i j k"]:
    """Search displacements; returns them on the voxels of the image, (3, *image_shape)."""
    spacing = (1.0,) * len(fixed.lattice.shape)
    f, m = _whole_cells(fixed), _whole_cells(moving)
    if min(f.shape[1:]) < 2:
        raise SpaceError(
            Fault(
                "image too small for the published numerics",
                f"shape {fixed.lattice.image_shape}",
                expected=f"at least two cells of {fixed.lattice.stride} voxels per axis",
                remedy="use the preset convexadam",
            )
        )

    def search(a: Tensor, b: Tensor) -> Tensor:
        volume = make_cost_volume(a, b, (radius,) * len(spacing), border="zero")
        return solve_coupled_convex(volume, spacing_mm=spacing, border="zero")

    forward, backward = search(f, m), search(m, f)
    for _ in range(consistency_iterations):
        forward, backward = (
            0.5 * (forward - sample_published(backward, forward)),
            0.5 * (backward - sample_published(forward, backward)),
        )
    return _stretch(forward, fixed.lattice.image_shape) * fixed.lattice.stride[0]


def refine_published(
    fixed: Features,
    moving: Features,
    start: Float[Tensor, "3 i j k"],
    *,
    regularity_weight: float,
    iterations: int,
    learning_rate: float,
) -> tuple[Float[Tensor, "3 i j k"], AdamTrace]:
    """Refine a displacement given on the voxels of the image, (3, *image_shape); returns the same form."""
    f, m = _whole_cells(fixed), _whole_cells(moving)
    stride = fixed.lattice.stride[0]
    cells = _stretch(start, f.shape[1:]) / stride
    refined, trace = refine_adam(
        SmoothedDense(cells, width=3, repeats=3, border="zero"),
        warp_and_compare(ssd(f), m, sample=sample_published),
        regularity_weight=regularity_weight,
        spacing_mm=(1.0,) * cells.shape[0],
        iterations=iterations - 1,
        learning_rate=learning_rate,
    )
    return _stretch(refined, fixed.lattice.image_shape) * stride, trace


def sample_published(
    volume: Float[Tensor, "c i j k"], displacement: Float[Tensor, "3 i j k"]
) -> Float[Tensor, "c i j k"]:
    """Read (C, *S) at x + u(x) n / (n - 1), zero outside."""
    shape = displacement.shape[1:]
    gain = torch.tensor([n / (n - 1) for n in shape], device=displacement.device).view(3, 1, 1, 1)
    positions = identity_positions(shape, device=displacement.device) + displacement * gain
    grid = to_sampling_grid(positions, shape)
    return F.grid_sample(volume.unsqueeze(0), grid, align_corners=False).squeeze(0)


def _whole_cells(features: Features) -> Tensor:
    """Features without the cells that reach over the edge of the image."""
    lattice: Lattice = features.lattice
    counts = [n // s for n, s in zip(lattice.image_shape, lattice.stride, strict=True)]
    return features.values[(slice(None), *(slice(0, n) for n in counts))]


def _stretch(displacement: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Interpolate (3, *S) to another shape over the same extent; vectors stay as they are."""
    return F.interpolate(
        displacement.unsqueeze(0), size=shape, mode="trilinear", align_corners=False
    ).squeeze(0)
