"""Features by the volume encoder of this project: each image encoded once, the pair joined by a PCA."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.dino3d.encoder import Dino3dEncoder, encode_dino3d
from dinoreg.encoders.evidence import keep_evidence
from dinoreg.encoders.joint_basis import PcaFacts, counting, pca_facts, share_needed
from dinoreg.encoders.pca import PcaBasis, fit_basis
from dinoreg.encoders.precision import compute_dtype, wider
from dinoreg.encoders.source import Encoded, Guide
from dinoreg.errors import ConfigError, NumericalError
from dinoreg.facts import INLINE
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.encoders import Dino3d
from dinoreg.space.features import Features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool
from dinoreg.weights.search import WeightsFile
from regtask.errors import Fault

log = logging.getLogger(__name__)

# Cells that are put together for the PCA at a time.
_CELLS = 1 << 16


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """How a pair was encoded.

    Attributes:
        working_mm: voxels that the network saw.
        images: of each image that was not remembered: voxels per axis, tiles, seconds.
        pca: of the joint basis; None without one.
    """

    working_mm: float
    images: tuple[ImageFacts, ...]
    pca: PcaFacts | None = field(default=None, metadata=INLINE)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """How one image was encoded: voxels per axis that the network saw, in how many tiles, how long."""

    grid: tuple[int, ...]
    tiles: int
    encode_seconds: float


class VolumeSource:
    """`dino3d` with its settings."""

    def __init__(
        self,
        settings: Dino3d,
        encoder: Dino3dEncoder,
        weights: WeightsFile | None,
        cache: FeatureCache,
        device: torch.device,
    ) -> None:
        """Take up a loaded encoder."""
        self.settings, self.weights = settings, weights
        self.channels = settings.components or encoder.channels
        self.digests = {"weights": weights.sha256} if weights else {}
        self._encoder, self._cache, self._device = encoder, cache, device

    def encode(self, images: tuple[PreparedImage, PreparedImage], frame: Frame, lattice: Lattice) -> Encoded:
        """Encode a pair; see `FeatureSource`."""
        whole = frame.over_the_image(lattice)
        working_mm = (self.settings.spacing_mm or self._encoder.spacing_mm) * frame.length_scale
        found: list[ImageFacts] = []

        def one(image: PreparedImage) -> Features:
            def make() -> Features:
                foreground = torch.from_numpy(image.foreground).to(self._device, torch.float32)
                values, facts = self._values(image, whole, working_mm, frame.orientation)
                found.append(facts)
                return Features(values, pool(foreground.unsqueeze(0), whole.stride), whole)

            rest = (self.settings, whole, frame.orientation, working_mm)
            return self._cache.of_image(image.identity, rest, make).block(frame.box)

        pair = one(images[0]), one(images[1])
        if not self.settings.components:
            return Encoded(*pair, VolumeFacts(working_mm, tuple(found), None))
        pair, basis, pca = join_features(pair, self.settings.components)
        return Encoded(*pair, VolumeFacts(working_mm, tuple(found), pca), keep_evidence(*pair, basis))

    def guide(self, rank: int, grid: int) -> Guide:
        """Refuse: its features depend on voxel size and orientation, not on an image alone."""
        raise ConfigError(
            Fault(
                "cannot guide a free-form stage", self.settings.name, expected="mind, dinov2, dinov3 or sam"
            )
        )

    def _values(
        self, image: PreparedImage, lattice: Lattice, working_mm: float, orientation: str
    ) -> tuple[Tensor, ImageFacts]:
        begin = time.perf_counter()
        precision: torch.dtype | None = compute_dtype(
            self.settings.precision, self._device, automatic="bfloat16"
        )
        while precision is not None:
            found = encode_dino3d(
                self._encoder,
                torch.from_numpy(image.values).to(self._device),
                lattice,
                working_mm=working_mm,
                orientation=orientation,
                tile=self.settings.tile,
                precision=precision,
            )
            if bool(found.values.isfinite().all()):
                break
            log.warning("features of %s not finite in %s", self.settings.name, precision)
            precision = wider(precision)
        if precision is None:
            raise NumericalError(
                Fault("features not finite", self.settings.name, remedy="check the weights and the image")
            )
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return found.values, ImageFacts(found.grid, found.tiles, round(time.perf_counter() - begin, 3))


def join_features(
    pair: tuple[Features, Features], components: int
) -> tuple[tuple[Features, Features], PcaBasis, PcaFacts]:
    """Project the features of two volumes on their common basis.

    The basis is fitted to the cells of both that are foreground by more than half, or where there are hardly
    such cells by less. Its centre becomes 0, as the background is.

    Args:
        pair: of fixed and moving.
        components: of the basis.
    """
    begin = time.perf_counter()
    above = share_needed([f.weight for f in pair], components, (0.5, 0.0))
    basis = fit_basis((cells for features in pair for cells in _cells(features, above)), components)

    def project(features: Features) -> Features:
        flat = features.values.movedim(0, -1).flatten(0, -2)
        projected = basis.project(flat).view(*features.lattice.shape, -1).movedim(-1, 0)
        return Features(projected.mul_(features.weight > 0), features.weight, features.lattice)

    joined = project(pair[0]), project(pair[1])
    return joined, basis, pca_facts(basis, above, time.perf_counter() - begin)


def _cells(features: Features, above: float | None) -> Iterator[Tensor]:
    """Yield the features of cells that count, (N, C), some at a time."""
    flat = features.values.movedim(0, -1).flatten(0, -2)
    for cells, weight in zip(
        torch.split(flat, _CELLS), torch.split(features.weight.flatten(), _CELLS), strict=True
    ):
        yield cells[counting(weight, above)]
