"""Separable linear operators on lattices, one small matrix per axis.

Smoothing, interpolation between lattices and B-splines are all linear and act on each axis alone. As
matrices they are exact at the border, differentiable and deterministic on every device. On a CPU only the
band of a matrix that is not zero is multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.kernels import lines as _kernels
from dinoreg.space.kernels.threads import follow_torch_threads

# A band is multiplied on its own up to this share of a row, and where so many values are filtered: below, the
# product with the whole matrix is as fast.
_WIDEST_BAND, _FEWEST_VALUES = 0.25, 1 << 15

Border = Literal["replicate", "zero"]


def apply_along_axes(volume: Float[Tensor, "c *s"], matrices: Sequence[Tensor]) -> Float[Tensor, "c *t"]:
    """Apply one matrix along each spatial axis.

    Args:
        volume: (C, *S).
        matrices: per spatial axis, (m_a, n_a) with n_a = S[a].

    Returns:
        (C, *M) with M[a] = m_a.
    """
    bands = [_band(matrix) if _may_be_banded(volume, matrix) else None for matrix in matrices]
    along = [_Along(axis, *one) for axis, one in enumerate(zip(matrices, bands, strict=True), start=1)]
    for banded, steps in itertools.groupby(along, key=lambda one: one.band is not None):
        if banded:
            volume = _CpuLines.apply(volume, list(steps))  # type: ignore[no-untyped-call]
            continue
        for step in steps:
            volume = _multiplied(volume, step.matrix, step.axis)
    return volume


def box_matrix(
    size: int,
    width: int,
    repeats: int,
    *,
    border: Border = "replicate",
    device: torch.device | str = "cpu",
) -> Float[Tensor, "n n"]:
    """Return (size, size): `repeats` box filters of odd `width` in turn, each with padding at the border.

    With "zero" a constant falls towards 0 at the border, as ConvexAdam's public code has it. On a CPU the
    matrix is shared by all who ask for it: not to be changed.
    """
    if width % 2 == 0:
        raise ValueError(f"box filter: the width must be odd, got {width}")
    return _box_matrix(size, width, repeats, border).to(device)


@lru_cache(maxsize=24)
@torch.inference_mode(False)  # what is kept may be differentiated through later
def _box_matrix(size: int, width: int, repeats: int, border: Border) -> Tensor:
    index = torch.arange(size)
    single = torch.zeros(size, size, dtype=torch.float64)
    for offset in range(-(width // 2), width // 2 + 1):
        source = index + offset
        inside = (source >= 0) & (source < size) if border == "zero" else torch.ones(size, dtype=torch.bool)
        single[index[inside], source.clamp(0, size - 1)[inside]] += 1 / width
    repeated: Tensor = torch.linalg.matrix_power(single, repeats)
    return repeated.float()


def interpolation_matrix(
    size_out: int, size_in: int, stride: float, *, device: torch.device | str = "cpu"
) -> Float[Tensor, "n m"]:
    """Return (size_out, size_in): linear interpolation from a lattice `stride` times coarser.

    Convention: coarse centre c lies at fine position (c + 0.5) * stride - 0.5; border values replicate.
    """
    position = ((torch.arange(size_out, dtype=torch.float64) + 0.5) / stride - 0.5).clamp(0, size_in - 1)
    low = position.floor().long().clamp(max=max(size_in - 2, 0))
    weight = position - low
    matrix = torch.zeros(size_out, size_in, dtype=torch.float64)
    rows = torch.arange(size_out)
    matrix[rows, low] += 1 - weight
    matrix[rows, (low + 1).clamp(max=size_in - 1)] += weight
    result: Tensor = matrix.to(device, torch.float32)
    return result


def averaging_matrix(
    size_out: int, size_in: int, step: float, *, device: torch.device | str = "cpu"
) -> Float[Tensor, "n m"]:
    """Return (size_out, size_in): linear interpolation, and where cells are wider the mean over each of them.

    Convention: output cell c covers the input positions [c step - 0.5, (c + 1) step - 0.5). The last one may
    reach over the edge, whose value then holds.

    Args:
        size_out: number of output cells.
        size_in: number of input cells.
        step: width of an output cell in input cells.
        device: of the matrix.
    """
    points = max(1, math.ceil(step - 1e-6))
    matrix = interpolation_matrix(size_out * points, size_in, points / step, device=device)
    return matrix.view(size_out, points, size_in).mean(dim=1)


@dataclass(frozen=True, slots=True)
class _Band:
    """What of each row of a matrix is not zero.

    Attributes:
        first: (M,) the column that it begins at.
        taps: (M, W) the values from there on.
    """

    first: Tensor
    taps: Tensor


def _may_be_banded(volume: Tensor, matrix: Tensor) -> bool:
    on_cpu = volume.device.type == "cpu" and volume.dtype == matrix.dtype == torch.float32
    return on_cpu and not matrix.requires_grad and volume.numel() >= _FEWEST_VALUES


def _band(matrix: Tensor) -> _Band | None:
    """Return the band of (M, N); None where it is wide."""
    columns = matrix.shape[1]
    used = (matrix != 0).int()
    first, last = used.argmax(dim=1), (used * torch.arange(columns)).argmax(dim=1)
    width = int((last - first).max()) + 1
    if width > _WIDEST_BAND * columns:
        return None
    first = first.clamp(max=columns - width)
    return _Band(first, torch.gather(matrix, 1, first[:, None] + torch.arange(width)))


@dataclass(frozen=True, slots=True)
class _Along:
    """A matrix (M, N) along one axis of (C, *S), and its band where that is narrow."""

    axis: int
    matrix: Tensor
    band: _Band | None


def _multiplied(volume: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Apply a whole matrix along one axis of (C, *S)."""
    before, after = volume.shape[:axis], volume.shape[axis + 1 :]
    if not after:
        return torch.matmul(volume, matrix.T)
    flat = volume.reshape(before.numel(), matrix.shape[1], after.numel())
    return torch.matmul(matrix, flat).reshape(*before, matrix.shape[0], *after)


def _filter(volume: Tensor, steps: Sequence[_Along]) -> Tensor:
    """Apply bands, or whole matrices; the first makes the volume that the others work in."""
    own = False
    for step in steps:
        if step.band is None:
            volume = _multiplied(volume, step.matrix, step.axis)
        else:
            in_place = own and step.matrix.shape[0] == step.matrix.shape[1]
            volume = _filter_along(volume, step.band, step.axis, in_place=in_place)
        own = True
    return volume


def _filter_along(volume: Tensor, band: _Band, axis: int, *, in_place: bool) -> Tensor:
    """Apply a band along one axis of (C, *S); in place only where it is square."""
    before, after = volume.shape[:axis], volume.shape[axis + 1 :]
    volume = volume.detach().contiguous()
    out = volume if in_place else torch.empty(*before, len(band.first), *after)
    first, taps = band.first.numpy(), band.taps.contiguous().numpy()
    follow_torch_threads()
    if after:
        shapes = [(before.numel(), n, after.numel()) for n in (volume.shape[axis], len(first))]
        volumes = volume.numpy().reshape(shapes[0]), out.numpy().reshape(shapes[1])
        _kernels.filter_lines(volumes[0], first, taps, volumes[1])
    else:
        lines = volume.numpy().reshape(-1, volume.shape[axis])
        _kernels.filter_last_axis(lines, first, taps, out.numpy().reshape(-1, len(first)))
    return out


class _CpuLines(torch.autograd.Function):
    """Banded matrices along axes of a float32 volume (C, *S)."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, steps: Sequence[_Along]) -> Tensor:
        ctx.steps = steps
        return _filter(volume, steps)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        back = [(step.axis, step.matrix.T.contiguous()) for step in reversed(ctx.steps)]
        (gradient,) = grad_outputs
        return _filter(gradient, [_Along(axis, matrix, _band(matrix)) for axis, matrix in back]), None
