"""Instance optimisation of a parameterised displacement by Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.optimise.data_term import DataTerm
from dinoreg.optimise.parameterise import Parameterisation
from dinoreg.optimise.regularise import diffusion

# The early stop looks at the loss once per window, so that a device is not waited for in every iteration.
STOP_WINDOW = 10


@dataclass(frozen=True, slots=True)
class AdamTrace:
    """What an optimisation did: the loss at each look, and the iterations run."""

    losses: tuple[float, ...]
    iterations: int


def refine_adam(
    parameterisation: Parameterisation,
    data_term: DataTerm,
    *,
    regularity_weight: float,
    spacing_mm: Sequence[float],
    iterations: int,
    learning_rate: float,
    stop_below: float = 0.0,
) -> tuple[Tensor, AdamTrace]:
    """Minimise data_term(u) + regularity_weight * diffusion(u) over the parameters.

    Args:
        parameterisation: holds the parameters and gives u, (rank, *S) cells.
        data_term: of u, on the same lattice.
        regularity_weight: of the diffusion term.
        spacing_mm: cell size of the lattice.
        iterations: at most.
        learning_rate: of Adam, cells.
        stop_below: stop when the loss fell by less than this share over a window; 0 never stops.

    Returns:
        u after the last step, (rank, *S) cells, and the trace.
    """
    optimiser = torch.optim.Adam(parameterisation.parameters(), lr=learning_rate)
    losses: list[float] = []
    iteration = 0
    for iteration in range(1, iterations + 1):
        optimiser.zero_grad(set_to_none=True)
        displacement = parameterisation.displacement()
        loss = data_term(displacement) + regularity_weight * diffusion(displacement, spacing_mm)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if iteration % STOP_WINDOW == 0:
            losses.append(float(loss.detach()))
            if stop_below > 0 and len(losses) > 1 and losses[-2] - losses[-1] < stop_below * abs(losses[-2]):
                break
    with torch.no_grad():
        return parameterisation.displacement(), AdamTrace(tuple(losses), iteration)
