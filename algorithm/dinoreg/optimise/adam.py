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


class AdamStep:
    """The update of Adam (Kingma & Ba 2015, algorithm 1) with its usual constants.

    `torch.optim.Adam` computes the same, but its first use loads torch's compiler, which takes longer than
    the registration of a small pair.
    """

    _BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        """Begin with no history; the parameters are changed in place."""
        self._parameters = list(parameters)
        self._learning_rate = learning_rate
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._count = 0

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Take one step, given the gradient of each parameter."""
        self._count += 1
        step_size = self._learning_rate / (1 - self._BETA_1**self._count)
        scale = (1 - self._BETA_2**self._count) ** 0.5
        for parameter, gradient, mean, square in zip(
            self._parameters, gradients, self._means, self._squares, strict=True
        ):
            mean.lerp_(gradient, 1 - self._BETA_1)
            square.mul_(self._BETA_2).addcmul_(gradient, gradient, value=1 - self._BETA_2)
            parameter.addcdiv_(mean, square.sqrt().div_(scale).add_(self._EPSILON), value=-step_size)


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
    parameters = list(parameterisation.parameters())
    step = AdamStep(parameters, learning_rate)
    losses: list[float] = []
    iteration = 0
    for iteration in range(1, iterations + 1):
        displacement = parameterisation.displacement()
        loss = data_term(displacement) + regularity_weight * diffusion(displacement, spacing_mm)
        step(torch.autograd.grad(loss, parameters))
        if iteration % STOP_WINDOW == 0:
            losses.append(float(loss.detach()))
            if stop_below > 0 and len(losses) > 1 and losses[-2] - losses[-1] < stop_below * abs(losses[-2]):
                break
    with torch.no_grad():
        return parameterisation.displacement(), AdamTrace(tuple(losses), iteration)
