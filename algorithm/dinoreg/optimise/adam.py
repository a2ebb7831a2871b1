"""Instance optimisation of a parameterised displacement by Adam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.optimise.data_term import DataTerm
from dinoreg.optimise.parameterise import Parameterisation
from dinoreg.optimise.regularise import diffusion
from dinoreg.space.coords import per_axis
from dinoreg.space.kernels.choice import field_kernels

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
    def __call__(self, gradients: Sequence[Tensor], pace: float = 1.0) -> None:
        """Take one step, given the gradient of each parameter; `pace` is the share of the learning rate."""
        self._count += 1
        step_size = pace * self._learning_rate / (1 - self._BETA_1**self._count)
        scale = (1 - self._BETA_2**self._count) ** 0.5
        for parameter, gradient, mean, square in zip(
            self._parameters, gradients, self._means, self._squares, strict=True
        ):
            if (kernels := field_kernels(parameter)) is not None and parameter.is_contiguous():
                kernels.adam(
                    parameter, gradient, mean, square, step_size=step_size, root_scale=1 / scale,
                    betas=(self._BETA_1, self._BETA_2), epsilon=self._EPSILON,
                )  # fmt: skip
                continue
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
    decay: bool = False,
    reach: Sequence[float] | None = None,
) -> tuple[Float[Tensor, "rank *s"], AdamTrace]:
    """Minimise data_term(u) + regularity_weight * diffusion(u) over the parameters.

    Args:
        parameterisation: holds the parameters and gives u, (rank, *S) cells.
        data_term: of u, on the same lattice.
        regularity_weight: of the diffusion term.
        spacing_mm: cell size of the lattice.
        iterations: at most.
        learning_rate: of Adam, cells.
        stop_below: stop when the loss fell by less than this share over a window; 0 never stops.
        decay: let the learning rate fall to 0 along half a cosine.
        reach: cells per axis that a parameter of one vector per cell may move from where it began; by default
            any.

    Returns:
        u after the last step, (rank, *S) cells, and the trace.
    """
    parameters = list(parameterisation.parameters())
    step = AdamStep(parameters, learning_rate)
    bounds = [] if reach is None else [(parameter, *_box(parameter, reach)) for parameter in parameters]
    losses: list[float] = []
    iteration = 0
    for iteration in range(1, iterations + 1):
        displacement = parameterisation.displacement()
        loss = data_term(displacement) + regularity_weight * diffusion(displacement, spacing_mm)
        pace = 0.5 * (1 + math.cos(math.pi * (iteration - 1) / iterations)) if decay else 1.0
        step(torch.autograd.grad(loss, parameters), pace)
        for parameter, low, high in bounds:
            with torch.no_grad():
                parameter.clamp_(low, high)
        if iteration % STOP_WINDOW == 0:
            losses.append(float(loss.detach()))
            if stop_below > 0 and len(losses) > 1 and losses[-2] - losses[-1] < stop_below * abs(losses[-2]):
                break
    with torch.no_grad():
        return parameterisation.displacement(), AdamTrace(tuple(losses), iteration)


def _box(parameter: Tensor, reach: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the bounds, each (rank, *S), of vectors that may move as far as `reach` from where they are."""
    first = parameter.detach()
    limits = per_axis(reach, first)
    return first - limits, first + limits
