"""The volume encoder `dino3d`: an image to the network's voxels, and its features to the cells of a lattice.

The network was trained on isotropic voxels of volumes that run to the right, anterior and superior. Here an
image of any voxel size and orientation is brought to such voxels, and its features back.

Convention: positions on an axis count from the outer edge of its first voxel; along an axis that the patient
lies against, from that of its last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.encoders.dino3d.tiles import encode_tiles
from dinoreg.encoders.dino3d.volume_network import VolumeNetwork
from dinoreg.errors import ConfigError
from dinoreg.space.lattice import Lattice
from dinoreg.space.orientation import RAS, ras_axes, to_ras
from dinoreg.space.sampling import sample_linear
from dinoreg.space.separable import apply_along_axes, averaging_matrix
from regtask.errors import Fault

# So much of a voxel is rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Dino3dEncoder:
    """The network on its device.

    Attributes:
        network: from volumes of isotropic voxels, RAS, [0, 1].
        spacing_mm: voxel size that it was trained around.
    """

    network: VolumeNetwork
    spacing_mm: float

    @property
    def channels(self) -> int:
        """Number of feature channels."""
        return self.network.channels


@dataclass(frozen=True, slots=True)
class Dino3dFeatures:
    """Features of an image, and how they were made.

    Attributes:
        values: (C, *lattice.shape) float32, the channels of a cell contiguous.
        grid: voxels per axis that the network saw, R, A, S.
        tiles: how many it saw them in.
    """

    values: Tensor
    grid: tuple[int, ...]
    tiles: int


def encode_dino3d(
    encoder: Dino3dEncoder,
    values: Tensor,
    lattice: Lattice,
    *,
    working_mm: float,
    orientation: str = RAS,
    tile: int = 384,
    precision: torch.dtype = torch.float32,
) -> Dino3dFeatures:
    """Encode an image and read its features at the centres of the cells of a lattice.

    Args:
        encoder: on the device of `values`.
        values: (I, J, K), [0, 1], 0 outside the foreground.
        lattice: over the same image; its cells state the voxel size.
        working_mm: voxel size that the network sees.
        orientation: of the image.
        tile: such voxels per axis at a time.
        precision: of the convolutions.

    Raises:
        ConfigError: an axis has a single voxel.
    """
    if min(values.shape) == 1:
        raise ConfigError(
            Fault(
                "dino3d takes volumes",
                "features.encoders",
                expected="3 axes of more than one voxel",
                got=f"an image of shape {tuple(values.shape)}",
                remedy="use mind, dinov2 or sam for single slices",
            )
        )
    axes, _ = ras_axes(orientation)
    voxel_mm = [lattice.spacing_mm[a] / lattice.stride[a] for a in axes]
    volume = _to_working(to_ras(values.unsqueeze(0), orientation), voxel_mm, working_mm)
    padding = [amount for n in reversed(volume.shape[1:]) for amount in (0, -n % encoder.network.multiple)]
    volume = F.pad(volume, padding)  # by 0, as the background is
    features, tiles = encode_tiles(encoder.network, volume, tile=tile, precision=precision)
    positions = _cell_positions(lattice, orientation, encoder.network.stride * working_mm).to(values.device)
    return Dino3dFeatures(sample_linear(features, positions), tuple(volume.shape[1:]), tiles)


def _to_working(volume: Tensor, voxel_mm: Sequence[float], working_mm: float) -> Tensor:
    """Resample (1, *S) to isotropic voxels: linear, and where they are coarser the mean over each of them.

    The last voxel may reach over the edge, whose value then holds.
    """
    matrices = []
    for size, voxel in zip(volume.shape[1:], voxel_mm, strict=True):
        step = working_mm / voxel
        size_out = math.ceil(size / step - _ROUNDING)
        matrices.append(averaging_matrix(size_out, size, step).to(volume.device))
    return apply_along_axes(volume, matrices)


def _cell_positions(lattice: Lattice, orientation: str, feature_mm: float) -> Tensor:
    """Centres of the cells of a lattice in indices of features along R, A, S: (3, *lattice.shape) float32."""
    components = []
    for axis, falls in zip(*ras_axes(orientation), strict=True):
        stride = lattice.stride[axis]
        voxels = (torch.arange(lattice.shape[axis], dtype=torch.float64) + 0.5) * stride
        if falls:
            voxels = lattice.image_shape[axis] - voxels
        index = voxels * (lattice.spacing_mm[axis] / stride / feature_mm) - 0.5
        along = [-1 if a == axis else 1 for a in range(3)]
        components.append(index.view(along).expand(lattice.shape))
    return torch.stack(components).float()
