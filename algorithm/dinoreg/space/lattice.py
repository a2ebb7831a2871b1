"""Working lattices: an image lattice, and coarser ones that tile it exactly.

A coarse lattice has an integer stride per axis. Where the size is not divisible, the last cell reaches over
the edge (the image is replicated into it), so that coarse centre c always lies at fine position
(c + 0.5) * stride - 0.5 and nothing is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinoreg.space.separable import apply_along_axes, interpolation_matrix


@dataclass(frozen=True, slots=True)
class Lattice:
    """A lattice with an integer stride over an image.

    Attributes:
        image_shape: sizes of the image, voxels.
        stride: image voxels per lattice cell, per axis.
        spacing_mm: size of one lattice cell, per axis.
    """

    image_shape: tuple[int, ...]
    stride: tuple[int, ...]
    spacing_mm: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells per axis, the last one possibly reaching over the edge."""
        return tuple(-(-n // s) for n, s in zip(self.image_shape, self.stride, strict=True))

    def cells_within(self, length_mm: float) -> tuple[int, ...]:
        """Return a length as whole cells per axis, at least 1, and 0 along an axis of one cell."""
        return tuple(
            0 if n == 1 else max(1, round(length_mm / mm))
            for n, mm in zip(self.shape, self.spacing_mm, strict=True)
        )

    def widened(self, times: int) -> Lattice:
        """Return the lattice whose cells are so many times as wide; an image axis of size 1 keeps its own."""
        factors = [times if n > 1 else 1 for n in self.image_shape]
        return Lattice(
            self.image_shape,
            tuple(s * f for s, f in zip(self.stride, factors, strict=True)),
            tuple(mm * f for mm, f in zip(self.spacing_mm, factors, strict=True)),
        )


def make_lattice(
    image_shape: Sequence[int],
    image_spacing_mm: Sequence[float],
    cell_mm: float,
    *,
    multiple_of: Sequence[int] | None = None,
) -> Lattice:
    """Return the lattice whose cells are nearest to `cell_mm`, never finer than the image.

    Args:
        image_shape: voxels per axis; an axis of size 1 keeps stride 1.
        image_spacing_mm: voxel size per axis.
        cell_mm: wanted cell size.
        multiple_of: strides that the new ones must be multiples of, so that pooling is exact.
    """
    base = tuple(multiple_of) if multiple_of is not None else (1,) * len(tuple(image_shape))
    stride = tuple(
        1 if n == 1 else b * max(1, round(cell_mm / (s * b)))
        for n, s, b in zip(image_shape, image_spacing_mm, base, strict=True)
    )
    spacing = tuple(float(s) * k for s, k in zip(image_spacing_mm, stride, strict=True))
    return Lattice(tuple(image_shape), stride, spacing)


def finest_lattice_within(
    image_shape: Sequence[int], image_spacing_mm: Sequence[float], max_cells: int
) -> tuple[Lattice, float]:
    """Return the lattice with the smallest cells that has at most `max_cells`, and its cell size in mm."""
    sizes = [s for n, s in zip(image_shape, image_spacing_mm, strict=True) if n > 1] or [1.0]
    candidates = sorted({k * float(s) for s in sizes for k in range(1, max(image_shape) + 1)})
    for cell_mm in candidates:
        lattice = make_lattice(image_shape, image_spacing_mm, cell_mm)
        if math.prod(lattice.shape) <= max_cells:
            return lattice, cell_mm
    return lattice, candidates[-1]


def pool(volume: Float[Tensor, "c *s"], stride: Sequence[int]) -> Float[Tensor, "c *t"]:
    """Average (C, *S) over cells of `stride`; the image is replicated into cells that reach over the edge."""
    padding = [0, 0] * len(stride)
    for axis, (n, s) in enumerate(zip(volume.shape[1:], stride, strict=True)):
        padding[2 * (len(stride) - 1 - axis) + 1] = -n % s
    if any(padding):
        volume = F.pad(volume.unsqueeze(0), padding, mode="replicate").squeeze(0)
    if all(s == 1 for s in stride):
        return volume
    average = F.avg_pool3d if len(stride) == 3 else F.avg_pool2d
    return average(volume, tuple(stride))


def resize_displacement(
    displacement: Float[Tensor, "rank *s"], source: Lattice, target: Lattice
) -> Float[Tensor, "rank *t"]:
    """Bring a displacement to another lattice of the same image, positions and units alike.

    Args:
        displacement: (rank, *source.shape), in cells of `source`.
        source: its lattice.
        target: another lattice of the same image.

    Returns:
        (rank, *target.shape), in cells of `target`.
    """
    if source == target:
        return displacement
    matrices = []
    for n_in, n_out, s_in, s_out in zip(
        source.shape, target.shape, source.stride, target.stride, strict=True
    ):
        matrices.append(interpolation_matrix(n_out, n_in, s_in / s_out, device=displacement.device))
    scale = torch.tensor(
        [a / b for a, b in zip(source.stride, target.stride, strict=True)],
        dtype=displacement.dtype,
        device=displacement.device,
    )
    return apply_along_axes(displacement, matrices).mul_(scale.view(-1, *([1] * len(target.shape))))
