"""Features by a function of the whole volume, pooled slab by slab, so that memory stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.encoders.base import Encoder
from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.source import Encoded, Guide
from dinoreg.errors import ConfigError
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.encoders import Encoder as EncoderSettings
from dinoreg.space.features import Features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool
from dinoreg.weights.search import WeightsFile
from regtask.errors import Fault

# The features of single slices need another encoder than those of volumes.
MakeEncoder = Callable[[int], Encoder]


class PooledSource:
    """An encoder that is a function of the volume, its features averaged over the cells of a lattice."""

    weights: WeightsFile | None = None
    digests: dict[str, str]

    def __init__(
        self,
        settings: EncoderSettings,
        encoder: Encoder,
        cache: FeatureCache,
        device: torch.device,
        *,
        for_rank: MakeEncoder | None = None,
        can_guide: bool = True,
    ) -> None:
        """Wrap an encoder.

        Args:
            settings: what it was made from.
            encoder: of volumes, on the device.
            cache: for images that come again.
            device: where to compute.
            for_rank: makes the encoder for images of another rank, where there is one.
            can_guide: whether its features say more than the intensities do.
        """
        self.settings, self._encoder, self._cache, self._device = settings, encoder, cache, device
        self._for_rank, self._can_guide = for_rank, can_guide
        self.channels = encoder.channels
        self.digests = {}

    def encode(self, images: tuple[PreparedImage, PreparedImage], frame: Frame, lattice: Lattice) -> Encoded:
        """Encode a pair; see `FeatureSource`."""
        # Of the whole image: the box of a frame depends on the other image, the features do not.
        whole = frame.over_the_image(lattice)

        def one(image: PreparedImage) -> Features:
            def make() -> Features:
                foreground = torch.from_numpy(image.foreground).to(self._device, torch.float32)
                values = torch.from_numpy(image.values).to(self._device).unsqueeze(0)
                pooled = encode_pooled(self._encoder, values, whole)
                return Features(pooled, pool(foreground.unsqueeze(0), whole.stride), whole)

            return self._cache.of_image(image.identity, (self.settings, whole), make).block(frame.box)

        return Encoded(one(images[0]), one(images[1]))

    def guide(self, rank: int, grid: int) -> Guide:
        """Return the encoder for images of a rank; see `FeatureSource`."""
        if not self._can_guide:
            raise ConfigError(
                Fault(
                    "cannot guide a free-form stage",
                    self.settings.name,
                    expected="mind, dinov2, dinov3 or sam",
                )
            )
        encoder = self._for_rank(rank) if self._for_rank else self._encoder
        if encoder.rank != rank:
            raise ConfigError(
                Fault(
                    "an encoder of volumes cannot guide single slices",
                    self.settings.name,
                    expected=f"rank {rank}",
                    got=f"rank {encoder.rank}",
                )
            )
        return encoder


@dataclass(frozen=True, slots=True)
class _Slab:
    """Rows [start, stop) along the first axis, and the rows [low, high) that must be read for them."""

    start: int
    stop: int
    low: int
    high: int


@torch.no_grad()
def encode_pooled(encoder: Encoder, image: Tensor, lattice: Lattice, *, slab_voxels: int = 3 << 17) -> Tensor:
    """Encode an image and average its features over the cells of a lattice.

    Equal to encoding the whole image and pooling, but at most about `slab_voxels` voxels of full-resolution
    features exist at a time.

    Args:
        encoder: its context, if any, is taken over the whole image first.
        image: (1, *S).
        lattice: over the same S.
        slab_voxels: bounds the memory; at least one row of cells is done at a time.

    Returns:
        (channels, *lattice.shape) float32, the channels of a cell contiguous, as the samplers read them.
    """
    rows = lattice.stride[0] * max(1, slab_voxels // (image[0, 0].numel() * lattice.stride[0]))
    slabs = list(_slabs(image.shape[1], rows, encoder.margin))
    context = _mean_context(encoder, image, slabs)
    # Channels last from the beginning: no second copy of the whole is needed for that.
    pooled = image.new_empty(*lattice.shape, encoder.channels).movedim(-1, 0)
    for slab in slabs:
        features = encoder(image[:, slab.low : slab.high], context)
        cells = slice(slab.start // lattice.stride[0], -(-slab.stop // lattice.stride[0]))
        pooled[:, cells] = pool(features[:, slab.start - slab.low : slab.stop - slab.low], lattice.stride)
    return pooled


def _slabs(size: int, rows: int, margin: int) -> Iterator[_Slab]:
    for start in range(0, size, rows):
        stop = min(start + rows, size)
        yield _Slab(start, stop, max(0, start - margin), min(size, stop + margin))


def _mean_context(encoder: Encoder, image: Tensor, slabs: list[_Slab]) -> Tensor | None:
    total = torch.zeros((), dtype=torch.float64, device=image.device)
    for slab in slabs:
        values = encoder.context_map(image[:, slab.low : slab.high])
        if values is None:
            return None
        total += values[:, slab.start - slab.low : slab.stop - slab.low].sum(dtype=torch.float64)
    return (total / image.numel()).to(image.dtype)
