"""Features of whole volumes: each image encoded once, and the pair joined by a PCA where that is wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dinoreg.encoders.base import Encoder
from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.dino3d.encoder import Dino3dEncoder, encode_dino3d
from dinoreg.encoders.pca import PcaBasis, fit_basis
from dinoreg.encoders.pooled import encode_pooled
from dinoreg.errors import NumericalError
from dinoreg.pipeline.plan import Plan
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.config import Dino3d, Intensity, Mind
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice, pool
from regtask.errors import Fault

# Cells that are put together for the PCA at a time.
_CELLS = 1 << 16


class VolumeMaker:
    """Encodes volumes as a whole, each named volume once."""

    def __init__(self, cache: FeatureCache, device: torch.device) -> None:
        self._cache, self._device = cache, device

    def encode(
        self,
        settings: Mind | Intensity | Dino3d,
        encoder: Encoder | Dino3dEncoder,
        images: tuple[PreparedImage, PreparedImage],
        plan: Plan,
        details: dict[str, Any],
    ) -> tuple[Features, Features]:
        """Encode both images of a pair on the finest lattice of its plan.

        Args:
            settings: of the encoder.
            encoder: on the device.
            images: fixed and moving.
            plan: of the pair.
            details: filled with what was found, for the report.

        Raises:
            ConfigError: images that the encoder does not take.
            NumericalError: features that are not finite.
        """
        # Of the whole image: the block of a plan depends on the other image, the features do not.
        whole = Lattice(plan.image_shape, plan.finest.stride, plan.finest.spacing_mm)
        key = (settings, whole, plan.orientation, plan.length_scale)

        def one(image: PreparedImage) -> Features:
            def make() -> Features:
                foreground = torch.from_numpy(image.foreground).to(self._device, torch.float32)
                values = self._values(settings, encoder, image, whole, plan, details)
                return Features(values, pool(foreground.unsqueeze(0), whole.stride), whole)

            features = self._cache.get((image.name, *key), make) if image.name else make()
            return features.block(plan.block)

        return one(images[0]), one(images[1])

    def _values(
        self,
        settings: Mind | Intensity | Dino3d,
        encoder: Encoder | Dino3dEncoder,
        image: PreparedImage,
        lattice: Lattice,
        plan: Plan,
        details: dict[str, Any],
    ) -> Tensor:
        values = torch.from_numpy(image.values).to(self._device)
        if isinstance(encoder, Encoder):
            return encode_pooled(encoder, values.unsqueeze(0), lattice)
        assert isinstance(settings, Dino3d)
        begin = time.perf_counter()
        working_mm = (settings.spacing_mm or encoder.spacing_mm) * plan.length_scale
        found = encode_dino3d(
            encoder,
            values,
            lattice,
            working_mm=working_mm,
            orientation=plan.orientation,
            tile=settings.tile,
            precision=chosen_precision(settings, self._device),
        )
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        if not bool(found.values.isfinite().all()):
            raise NumericalError(
                Fault("features not finite", settings.name, remedy='use precision = "float32"')
            )
        details |= {"working_mm": working_mm, "grid": list(found.grid), "tiles": found.tiles}
        details.setdefault("encode_seconds", []).append(round(time.perf_counter() - begin, 3))
        return found.values


def join_features(
    pair: tuple[Features, Features], components: int, details: dict[str, Any]
) -> tuple[tuple[Features, Features], PcaBasis]:
    """Project the features of two volumes on their common basis.

    The basis is fitted to the cells of both that are foreground by more than half, or where there are hardly
    such cells by less. Its centre becomes 0, as the background is.

    Args:
        pair: of fixed and moving.
        components: of the basis.
        details: filled with what was found, for the report.
    """
    begin = time.perf_counter()
    above = next(
        (share for share in (0.5, 0.0) if all(int((f.weight > share).sum()) >= components for f in pair)),
        -1.0,
    )
    basis = fit_basis((cells for features in pair for cells in _cells(features, above)), components)

    def project(features: Features) -> Features:
        flat = features.values.movedim(0, -1).flatten(0, -2)
        projected = basis.project(flat).view(*features.lattice.shape, -1).movedim(-1, 0)
        return Features(projected.mul_(features.weight > 0), features.weight, features.lattice)

    joined = project(pair[0]), project(pair[1])
    details |= {
        "foreground_share": above,
        "explained_variance": [round(share, 5) for share in basis.explained.tolist()],
        "explained_variance_sum": round(float(basis.explained.sum()), 5),
        "pca_seconds": round(time.perf_counter() - begin, 3),
    }
    return joined, basis


def _cells(features: Features, above: float) -> Iterator[Tensor]:
    """Yield the features of cells with more foreground than `above`, (N, C), some at a time."""
    flat = features.values.movedim(0, -1).flatten(0, -2)
    for cells, weight in zip(
        torch.split(flat, _CELLS), torch.split(features.weight.flatten(), _CELLS), strict=True
    ):
        yield cells[weight > above]


def chosen_precision(settings: Dino3d, device: torch.device) -> torch.dtype:
    """Return the precision that a network computes in on a device."""
    if device.type != "cuda":
        return torch.float32
    automatic = "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    chosen: torch.dtype = getattr(torch, automatic if settings.precision == "auto" else settings.precision)
    return chosen
