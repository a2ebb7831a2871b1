"""Encode a volume slice by slice with a 2D token encoder, and bring what comes out to a lattice."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from dinoreg.encoders.joint_basis import counting
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.encoders.slices.slice_plan import SlicePlan
from dinoreg.space.lattice import Lattice
from dinoreg.space.separable import apply_along_axes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TokenVolume:
    """The tokens of the encoded slices of a volume.

    Attributes:
        patches: (n, D, h, w), in the storage type, on the device or the host.
        cls: (n, D) float32.
        share: (n, h, w) float32 in [0, 1], how much of each patch is foreground.
        plan: which slices, and where their patches lie.
    """

    patches: Tensor
    cls: Tensor
    share: Tensor
    plan: SlicePlan

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(t.numel() * t.element_size() for t in (self.patches, self.cls, self.share))

    @property
    def finite(self) -> bool:
        """Whether all tokens are finite; asked slice by slice, the device is waited for once."""
        each = [values.isfinite().all() for values in (*self.patches, self.cls)]
        return bool(torch.stack(each).all())

    def foreground_tokens(self, above: float | None, device: torch.device) -> Iterator[Tensor]:
        """Yield the tokens of patches with more foreground than `above`, (N, D), slice by slice."""
        for patches, share in zip(self.patches, self.share, strict=True):
            yield patches.flatten(1).T[counting(share.flatten(), above)].to(device)


@torch.inference_mode()
def encode_slices(
    encoder: SliceEncoder,
    values: Float[Tensor, "i j k"],
    foreground: Shaped[Tensor, "i j k"],
    plan: SlicePlan,
    *,
    batch: int,
    precision: torch.dtype = torch.float32,
    storage: torch.dtype = torch.float16,
    keep_on: torch.device | None = None,
) -> TokenVolume:
    """Encode the planned slices of a volume.

    A batch that does not fit into the memory of the device is tried again with half the slices.

    Args:
        encoder: on the device of `values`.
        values: (I, J, K) intensities in [0, 1].
        foreground: (I, J, K) in [0, 1].
        plan: for a volume of this shape.
        batch: slices at a time.
        precision: of the encoder on a GPU; a CPU computes in float32.
        storage: of the patch tokens.
        keep_on: where the tokens are kept; by default where they are made.

    Raises:
        torch.OutOfMemoryError: not even one slice fits.
    """
    device = values.device
    keep_on = keep_on or device
    planes = _planes(values, plan)
    shares = _planes(foreground, plan).float()
    n, (h, w) = len(plan.indices), plan.patches
    patches = torch.empty(n, encoder.channels, h, w, dtype=storage, device=keep_on)
    cls = torch.empty(n, encoder.channels, device=keep_on)
    start = 0
    while start < n:
        stop = min(start + batch, n)
        tokens = None
        try:
            with _autocast(device, precision):
                tokens = encoder(_resize(planes[start:stop].unsqueeze(1), plan.input_size))
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        if tokens is None:
            # Outside the handler: the exception holds the activations as long as it is there.
            torch.cuda.empty_cache()
            batch = max(1, min(batch, stop - start) // 2)
            log.warning("out of memory: %d slices at a time from here", batch)
            continue
        patches[start:stop] = tokens.patches.to(keep_on, storage)
        cls[start:stop] = tokens.cls.to(keep_on, torch.float32)
        start = stop
    matrices = [
        _coverage_matrix(count, stop - start).to(device)
        for count, (start, stop) in zip(plan.patches, plan.crop, strict=True)
    ]
    return TokenVolume(patches, cls, apply_along_axes(shares, matrices).to(keep_on), plan)


def place_tokens(
    values: Float[Tensor, "n c h w"], plan: SlicePlan, lattice: Lattice, *, origin: Sequence[int] = (0, 0, 0)
) -> Float[Tensor, "c i j k"]:
    """Bring values of patches to a lattice: linear between patches and slices, averaged over its cells.

    Convention: cell c of the lattice covers the voxels [c s, (c + 1) s) after `origin`, so that its centre
    is at (c + 0.5) s - 0.5. Up to half a patch beyond the outermost centres their values hold; beyond the
    content that was encoded everything is 0.

    Args:
        values: (n, C, h, w) of the planned slices, float32.
        plan: where they lie.
        lattice: over a block of the volume.
        origin: first voxel of that block.

    Returns:
        (C, *lattice.shape).
    """
    matrices = [torch.empty(0)] * 3
    geometry = zip(plan.plane, plan.patches, plan.crop, strict=True)
    centres = {
        a: (start + (torch.arange(h, dtype=torch.float64) + 0.5) * ((stop - start) / h) - 0.5, (start, stop))
        for a, h, (start, stop) in geometry
    }
    centres[plan.axis] = (torch.tensor(plan.indices, dtype=torch.float64), plan.extent)
    for axis, (positions, content) in centres.items():
        size, stride = lattice.image_shape[axis], lattice.stride[axis]
        # A cell over the edge repeats the last voxel.
        voxels = torch.arange(lattice.shape[axis] * stride).clamp(max=size - 1) + origin[axis]
        matrix = _linear_matrix(voxels, positions, content)
        matrices[axis] = (
            matrix.reshape(lattice.shape[axis], stride, -1).mean(dim=1).to(values.device, torch.float32)
        )
    volume = values.transpose(0, 1).movedim(1, plan.axis + 1)  # (C, n, h, w) -> (C, *array order)
    return apply_along_axes(volume, matrices)


def _planes(volume: Tensor, plan: SlicePlan) -> Tensor:
    """The planned slices of a volume, cropped, (n, *crop)."""
    rows, columns = (slice(start, stop) for start, stop in plan.crop)
    chosen = torch.tensor(plan.indices, device=volume.device)
    return volume.movedim(plan.axis, 0)[chosen][:, rows, columns]


def _linear_matrix(voxels: Tensor, centres: Tensor, content: tuple[int, int]) -> Tensor:
    """Linear interpolation from ascending centres to voxels, (voxels, centres); 0 beyond the content."""
    matrix = torch.zeros(len(voxels), len(centres), dtype=torch.float64)
    rows = torch.arange(len(voxels))
    position = voxels.double().clamp(float(centres[0]), float(centres[-1]))
    high = torch.searchsorted(centres, position).clamp(1, max(1, len(centres) - 1))
    low, high = high - 1, high.clamp(max=len(centres) - 1)
    width = (centres[high] - centres[low]).clamp(min=torch.finfo(torch.float64).tiny)
    weight = (position - centres[low]) / width
    matrix[rows, low] += 1 - weight
    matrix[rows, high] += weight
    inside = (voxels >= content[0]) & (voxels < content[1])
    return matrix * inside.unsqueeze(1)


def _coverage_matrix(patches: int, voxels: int) -> Tensor:
    """Share of each patch that lies on each voxel, (patches, voxels); rows sum to 1."""
    side = voxels / patches
    low = torch.arange(patches, dtype=torch.float64).unsqueeze(1) * side
    voxel = torch.arange(voxels, dtype=torch.float64)
    overlap = torch.minimum(low + side, voxel + 1) - torch.maximum(low, voxel)
    return (overlap.clamp(min=0) / side).float()


def _resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Linear, smoothed where it makes smaller; (B, 1, *size)."""
    return F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)


def _autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    if device.type != "cuda" or precision == torch.float32:
        return nullcontext()
    return torch.autocast("cuda", dtype=precision)
