"""Instance optimisation of a parameterised displacement by Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.optimise.parameterise import Parameterisation
from dinoreg.optimise.regularise import diffusion
from dinoreg.optimise.similarity import Similarity
from dinoreg.space.coords import identity_positions
from dinoreg.space.sampling import channels_last, sample_linear

# The early stop looks at the loss once per window, so that a device is not waited for in every iteration.
STOP_WINDOW = 10


# (moving (C, *S), displacement (rank, *S) cells) -> moving read at x + u(x), (C, *S).
Sample = Callable[[Tensor, Tensor], Tensor]


def warp_linear(moving: Tensor, displacement: Tensor) -> Tensor:
    """Read `moving` at x + u(x) by linear interpolation, border replicated."""
    return sample_linear(moving, identity_positions(moving.shape[1:], device=moving.device) + displacement)


@dataclass(frozen=True, slots=True)
class AdamTrace:
    """What an optimisation did: the loss at each look, and the iterations run."""

    losses: tuple[float, ...]
    iterations: int


def refine_adam(
    parameterisation: Parameterisation,
    similarity: Similarity,
    moving: Tensor,
    *,
    regularity_weight: float,
    spacing_mm: Sequence[float],
    iterations: int,
    learning_rate: float,
    weight: Tensor | None = None,
    stop_below: float = 0.0,
    sample: Sample = warp_linear,
) -> tuple[Tensor, AdamTrace]:
    """Minimise similarity(moving o (id + u)) + regularity_weight * diffusion(u) over the parameters.

    Args:
        parameterisation: holds the parameters and gives u, (rank, *S) cells.
        similarity: bound to the fixed features on the same lattice.
        moving: (C, *S) features.
        regularity_weight: of the diffusion term.
        spacing_mm: cell size of the lattice.
        iterations: at most.
        learning_rate: of Adam, cells.
        weight: (1, *S), the voxels that count, or None.
        sample: how the moving features are read at x + u(x).
        stop_below: stop when the loss fell by less than this share over a window; 0 never stops.

    Returns:
        u after the last step, (rank, *S) cells, and the trace.
    """
    moving = channels_last(moving)
    optimiser = torch.optim.Adam(parameterisation.parameters(), lr=learning_rate)
    losses: list[float] = []
    iteration = 0
    for iteration in range(1, iterations + 1):
        optimiser.zero_grad(set_to_none=True)
        displacement = parameterisation.displacement()
        warped = sample(moving, displacement)
        loss = similarity(warped, weight) + regularity_weight * diffusion(displacement, spacing_mm)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if iteration % STOP_WINDOW == 0:
            losses.append(float(loss.detach()))
            if stop_below > 0 and len(losses) > 1 and losses[-2] - losses[-1] < stop_below * abs(losses[-2]):
                break
    with torch.no_grad():
        return parameterisation.displacement(), AdamTrace(tuple(losses), iteration)
