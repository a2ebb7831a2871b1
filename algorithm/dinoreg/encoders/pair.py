"""All that the stages of a registration can ask about a pair: its features, its images, its guides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.evidence import Evidence, SliceCodes
from dinoreg.encoders.source import FeatureSource
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Features, concatenate
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool


@dataclass(frozen=True, slots=True, eq=False)
class BoxImages:
    """Two images and the voxels that count, at the resolution of the image.

    Attributes:
        fixed: (1, *S), [0, 1].
        moving: (1, *S).
        weight: foreground of both, each (1, *S) in [0, 1]; None where everything counts.
    """

    fixed: Tensor
    moving: Tensor
    weight: tuple[Tensor, Tensor] | None


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """What is known of a pair.

    Attributes:
        blocks: features on the finest lattice; each block is registered on its own and the deformations are
            averaged by share. One block if several encoders were concatenated, none if none was asked for.
        shares: of the blocks, sum 1.
        evidence: of the encoders with a PCA, in the order of the configuration.
        images: for stages that compare the images themselves.
        guides: the encoders, for stages that encode on their own.
        renewed: the same with moving encoded anew where a deformation brings it; None where none can be had.
    """

    blocks: tuple[FeaturePair, ...] = ()
    shares: tuple[float, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    images: BoxImages | None = None
    guides: tuple[FeatureSource, ...] = field(default=())
    renewed: Callable[[Deformation], PairFeatures] | None = None

    @property
    def codes(self) -> dict[int, SliceCodes]:
        """Slices compared by cls tokens, per axis; the first encoder counts."""
        return {axis: codes for seen in reversed(self.evidence) for axis, codes in seen.codes.items()}

    @property
    def joined(self) -> FeaturePair:
        """All channels in one block."""
        return self.blocks[0] if len(self.blocks) == 1 else concatenate(self.blocks, self.shares)

    def on(self, lattice: Lattice, weights: Sequence[float] = ()) -> FeaturePair:
        """Return all channels on a lattice, weighed; see `FeaturePair.on`."""
        return self.joined.on(lattice, weights)

    def apart(self) -> tuple[PairFeatures, ...]:
        """Return the blocks as pairs of their own."""
        return tuple(PairFeatures((block,), (1.0,), self.evidence) for block in self.blocks)


def cut_images(
    fixed: PreparedImage, moving: PreparedImage, frame: Frame, *, masked: bool, device: torch.device
) -> BoxImages:
    """Cut the box of a frame out of two images and, where they count, their foregrounds."""

    def cut(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array[frame.window], dtype=np.float32)).to(device)[None]

    weight = (cut(fixed.foreground), cut(moving.foreground)) if masked else None
    return BoxImages(cut(fixed.values), cut(moving.values), weight)


def intensities_on(
    image: PreparedImage, frame: Frame, lattice: Lattice, *, masked: bool, device: torch.device
) -> Features:
    """Return the intensities of an image as a channel on a lattice over the box of a frame.

    One image is cut at a time, so that no more than one is there at the resolution of the file.
    """

    def averaged(array: NDArray[np.generic]) -> Tensor:
        cut = torch.from_numpy(np.ascontiguousarray(array[frame.window], dtype=np.float32))
        return pool(cut.to(device)[None], lattice.stride)

    values = averaged(image.values)
    weight = averaged(image.foreground) if masked else torch.ones_like(values)
    return Features(values, weight, lattice)
