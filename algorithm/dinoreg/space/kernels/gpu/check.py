"""Whether the kernels compute on a device what plain torch does there.

They are compiled when they are first used, by whatever version of Triton there is, for whatever card. So
every process compares each of them with torch in float64, once, on a small lattice with unequal sides,
displacements of several cells, some of them out of the image, and positions that are no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.space.coords import identity_positions, to_sampling_grid
from dinoreg.space.kernels.gpu import differentiable, launch

# Of the largest value of what torch finds. Rounding in float32 stays below a tenth of it; a wrong corner,
# sign or border is of the size of the value itself.
TOLERANCE = 1e-4
_SHAPE, _CHANNELS, _SHIFT = (7, 12, 9), 5, (3.0, -5.0, 7.0)
_SPACING_MM = (2.0, 1.5, 3.0)


class Disagreement(RuntimeError):
    """A kernel and torch differ by more than `TOLERANCE`."""


def check_kernels(device: torch.device) -> None:
    """Compare all kernels with torch.

    Raises:
        Disagreement: one is wrong.
        Exception: whatever Triton raises where it cannot compile or run them.
    """
    for what, found, expected in _comparisons(device):
        error = float((found.double() - expected).abs().max())
        largest = float(expected.abs().max())
        if not error <= TOLERANCE * largest:  # also where it is NaN
            raise Disagreement(f"{what}: wrong by {error:.3g}, where the largest value is {largest:.3g}")


def _comparisons(device: torch.device) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield what is computed, by a kernel, and by torch in float64."""
    displacement = _displacement(device)
    weight = (_waves((1, *_SHAPE), 5, device) > -0.5).float()
    fixed, moving = (_waves((_CHANNELS, *_SHAPE), n, device) for n in (1, 2))
    for relative in (True, False):
        yield from _sampling(moving, displacement, relative=relative)
    for counted in (weight, None):
        yield from _difference(fixed, moving, displacement, counted)
    yield from _fields(displacement)
    lost = torch.full((3, 1), float("nan"), device=device)
    found = launch.sample(moving, lost, relative=False)
    yield "sampling at no number", found, moving[:, 0, 0, 0, None].double()


def _sampling(
    volume: Tensor, displacement: Tensor, *, relative: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    incoming = _waves((volume.shape[0], displacement[0].numel()), 4, volume.device)
    origin = 0 if relative else identity_positions(_SHAPE, device=volume.device)
    own = (displacement + origin).flatten(1).requires_grad_()
    found = differentiable.sample(volume, own, relative=relative)
    theirs = displacement.double().requires_grad_()
    expected = _warped(volume, theirs).flatten(1)
    yield "sampling", found.detach(), expected.detach()
    yield (
        "gradient of sampling",
        torch.autograd.grad((found * incoming).sum(), own)[0],
        torch.autograd.grad((expected * incoming.double()).sum(), theirs)[0].flatten(1),
    )


def _difference(
    fixed: Tensor, moving: Tensor, displacement: Tensor, weight: Tensor | None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    found, gradient = launch.squared_difference(fixed, moving, displacement, weight)
    theirs = displacement.double().requires_grad_()
    each = (_warped(moving, theirs) - fixed.double()).square()
    expected = (each if weight is None else each * weight.double()).sum()
    yield "squared difference", found, expected.detach()
    yield "gradient of the squared difference", gradient, torch.autograd.grad(expected, theirs)[0]


def _fields(displacement: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    found, gradient = launch.diffusion(displacement, _SPACING_MM)
    theirs = displacement.double().requires_grad_()
    squared = torch.tensor(_SPACING_MM, dtype=torch.float64, device=displacement.device).square()
    slopes = [torch.diff(theirs, dim=axis) for axis in (1, 2, 3)]
    parts = [
        (slope.square() * squared.view(3, 1, 1, 1)).mean() / step**2
        for slope, step in zip(slopes, _SPACING_MM, strict=True)
    ]
    expected = torch.stack(parts).sum()
    yield "diffusion", found, expected.detach()
    yield "gradient of the diffusion", gradient, torch.autograd.grad(expected, theirs)[0]
    jacobian = torch.stack([torch.gradient(theirs.detach(), dim=axis)[0] for axis in (1, 2, 3)], dim=1)
    identity = torch.eye(3, dtype=torch.float64, device=displacement.device)
    yield (
        "determinant",
        launch.determinant(displacement),
        torch.linalg.det(jacobian.permute(2, 3, 4, 0, 1) + identity),
    )
    yield from _adam(displacement)


def _adam(gradient: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    own = [_waves(gradient.shape, n, gradient.device) for n in (6, 7)] + [gradient.square()]
    value, mean, square = (values.double() for values in own)
    mean = 0.9 * mean + 0.1 * gradient.double()
    square = 0.999 * square + 0.001 * gradient.double().square()
    expected = value - 0.5 * mean / (1.1 * square.sqrt() + 1e-8)
    launch.adam(
        own[0], gradient, own[1], own[2], step_size=0.5, root_scale=1.1, betas=(0.9, 0.999), epsilon=1e-8
    )
    for what, found, right in zip(("value", "mean", "square"), own, (expected, mean, square), strict=True):
        yield f"{what} of a step of Adam", found, right


def _warped(volume: Tensor, displacement: Tensor) -> Tensor:
    """Read at x + u(x) by torch in float64."""
    positions = identity_positions(volume.shape[1:], device=volume.device).double() + displacement
    grid = to_sampling_grid(positions, volume.shape[1:])
    return F.grid_sample(
        volume.double()[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def _displacement(device: torch.device) -> Tensor:
    """Shifts, other than along cells' borders, where the gradient jumps: a whole number, and .2 to .8."""
    shift = torch.tensor(_SHIFT, device=device).view(3, 1, 1, 1)
    return shift + (3 * _waves((3, *_SHAPE), 3, device)).round() + 0.5 + 0.3 * _waves((3, *_SHAPE), 8, device)


def _waves(shape: tuple[int, ...], number: int, device: torch.device) -> Tensor:
    """Values in [-1, 1] without order, made on the device and without its random numbers."""
    steps = torch.arange(torch.Size(shape).numel(), device=device, dtype=torch.float64)
    return torch.sin(steps * steps * 0.37 + steps * number + number).float().view(shape)
