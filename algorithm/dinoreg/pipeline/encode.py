"""From two prepared images to the features that are compared: encoders, joint PCA, scales, ensemble."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.pca import PcaBasis, read_basis
from dinoreg.encoders.registry import Load, LoadedEncoder, load_encoder
from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.encoders.slices.tokens import TokenMaker, join_tokens
from dinoreg.encoders.volumes import VolumeMaker, join_features
from dinoreg.pipeline.plan import Plan
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.config import Config, Dino3d, TokenSettings
from dinoreg.settings.config import Encoder as EncoderSettings
from dinoreg.space.features import REFERENCE_ENERGY, Features, scale_pair
from dinoreg.space.lattice import Lattice
from dinoreg.start.slices import SliceCodes
from dinoreg.weights.search import file_digest

log = logging.getLogger(__name__)

CACHE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Channels that belong together: one encoder, or several that were concatenated.

    Attributes:
        fixed: on the finest lattice of the plan's block.
        moving: on the same lattice.
        parts: (number of channels, weight) of each encoder, in order; the weights sum to 1.
        weight: share of this block among the blocks of a pair.
    """

    fixed: Features
    moving: Features
    parts: tuple[tuple[int, float], ...]
    weight: float

    def on(self, lattice: Lattice, weights: Sequence[float] = ()) -> Block:
        """Average to a coarser lattice, and weigh the encoders anew.

        Args:
            lattice: its strides are multiples of the present ones.
            weights: of each encoder, of which those with 0 are left out; none: as they are.
        """
        fixed, moving = self.fixed.on(lattice), self.moving.on(lattice)
        if not weights:
            return replace(self, fixed=fixed, moving=moving)
        shares = [weight / sum(weights) for weight in weights]
        counts = [count for count, _ in self.parts]
        factors = [math.sqrt(new / old) for new, (_, old) in zip(shares, self.parts, strict=True)]

        def weigh(features: Features) -> Features:
            groups = zip(torch.split(features.values, counts), factors, strict=True)
            return replace(features, values=torch.cat([group * factor for group, factor in groups if factor]))

        parts = tuple((count, share) for count, share in zip(counts, shares, strict=True) if share)
        return Block(weigh(fixed), weigh(moving), parts, self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What an encoder with a PCA saw of a pair, small enough to be kept and drawn.

    Attributes:
        colours: the first three principal components of fixed and of moving, each (3, *S) float32 on the
            plan's finest lattice, background 0.
        weights: (*S) float32 in [0, 1], the share of each cell that is foreground, for both.
        basis: of the PCA.
        codes: distances of the encoded slices by their cls tokens, per array axis across them.
    """

    colours: tuple[NDArray[np.float32], NDArray[np.float32]]
    weights: tuple[NDArray[np.float32], NDArray[np.float32]]
    basis: PcaBasis
    codes: Mapping[int, SliceCodes]


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """All that is known of a pair after encoding.

    Attributes:
        blocks: each is registered on its own, and the displacements averaged by weight; one block if
            several encoders were concatenated.
        evidence: of the encoders with a PCA, in the order of the configuration.
    """

    blocks: tuple[Block, ...]
    evidence: tuple[Evidence, ...]

    @property
    def codes(self) -> dict[int, SliceCodes]:
        """Slices compared by cls tokens, per axis; the first encoder counts."""
        return {axis: codes for seen in reversed(self.evidence) for axis, codes in seen.codes.items()}

    @property
    def joined(self) -> Block:
        """All channels in one block, as the starts compare them."""
        return self.blocks[0] if len(self.blocks) == 1 else concatenate(self.blocks)


class PairEncoder:
    """Encodes the pairs of a run: every encoder is loaded once, and every named image encoded once."""

    def __init__(
        self,
        config: Config,
        device: torch.device,
        *,
        load: Load = load_encoder,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Load the encoders.

        Raises:
            WeightsError: the weights of one are absent or not the right ones.
            ConfigError: a saved basis cannot be used.
        """
        self._config, self._device = config, device
        self._encoders = [load(settings, device) for settings in config.features.encoders]
        self._cache = FeatureCache(cache_bytes)
        self._tokens = TokenMaker(self._cache, device)
        self._volumes = VolumeMaker(self._cache, device)
        self._bases = {
            n: read_basis(Path(settings.basis), channels=loaded.encoder.channels)
            for n, (settings, loaded) in enumerate(zip(config.features.encoders, self._encoders, strict=True))
            if isinstance(settings, TokenSettings) and settings.basis
        }

    @property
    def encoders(self) -> tuple[tuple[EncoderSettings, LoadedEncoder], ...]:
        """Settings and loaded encoder each, in the order of the configuration."""
        return tuple(zip(self._config.features.encoders, self._encoders, strict=True))

    @property
    def weights(self) -> dict[str, dict[str, str]]:
        """Digest, file and provenance of the weights by number of the encoder, for the manifest."""
        return {
            str(n): {
                "encoder": settings.name,
                "sha256": loaded.weights.sha256,
                "provenance": loaded.weights.provenance,
                "path": str(loaded.weights.path),
            }
            for n, (settings, loaded) in enumerate(
                zip(self._config.features.encoders, self._encoders, strict=True)
            )
            if loaded.weights is not None
        }

    @property
    def digests(self) -> dict[int, dict[str, str]]:
        """sha256 of weights and saved basis by number of the encoder, for the hash of the configuration."""
        found: dict[int, dict[str, str]] = {}
        for n, (settings, loaded) in enumerate(
            zip(self._config.features.encoders, self._encoders, strict=True)
        ):
            if loaded.weights is not None:
                found[n] = {"weights": loaded.weights.sha256}
            if isinstance(settings, TokenSettings) and settings.basis:
                found.setdefault(n, {})["basis"] = file_digest(Path(settings.basis))
        return found

    def encode(
        self, fixed: PreparedImage, moving: PreparedImage, plan: Plan, details: dict[str, Any]
    ) -> PairFeatures:
        """Encode a pair on the finest lattice of its plan.

        Args:
            fixed: (I, J, K).
            moving: the same shape.
            plan: of the pair.
            details: filled with what was found, for the report.
        """
        settings = self._config.features
        total = sum(encoder.weight for encoder in settings.encoders)
        blocks: list[Block] = []
        evidence: list[Evidence] = []
        details["encoders"] = []
        for number, chosen in enumerate(settings.encoders):
            found: dict[str, Any] = {"name": chosen.name}
            pair, seen = self._one_encoder(number, (fixed, moving), plan, found)
            if seen is not None:
                evidence.append(seen)
            found["channels"] = pair[0].values.shape[0]
            details["encoders"].append(found)
            blocks.append(Block(*pair, parts=((found["channels"], 1.0),), weight=chosen.weight / total))
        if settings.ensemble == "concatenate" and len(blocks) > 1:
            blocks = [concatenate(blocks)]
        details["channels"] = sum(block.fixed.values.shape[0] for block in blocks)
        return PairFeatures(tuple(blocks), tuple(evidence))

    def _one_encoder(
        self, number: int, images: tuple[PreparedImage, PreparedImage], plan: Plan, found: dict[str, Any]
    ) -> tuple[tuple[Features, Features], Evidence | None]:
        """Features of a pair by one encoder, scaled if that is wanted; what has no scale yet ends here."""
        chosen, loaded = self._config.features.encoders[number], self._encoders[number]
        evidence = None
        if isinstance(chosen, TokenSettings):
            assert isinstance(loaded.encoder, SliceEncoder)
            volumes = self._tokens.encode(chosen, loaded.encoder, images, plan, found)
            saved = self._bases.get(number)
            joint = join_tokens(chosen, volumes, images, plan, self._device, found, basis=saved)
            pair = joint.features
            evidence = _evidence(pair, joint.basis, {chosen.axis: joint.codes})
        else:
            assert not isinstance(loaded.encoder, SliceEncoder)
            pair = self._volumes.encode(chosen, loaded.encoder, images, plan, found)
            if isinstance(chosen, Dino3d) and chosen.components:
                pair, basis = join_features(pair, chosen.components, found)
                evidence = _evidence(pair, basis, {})
        if not self._config.features.unit_scale:
            return pair, evidence
        scaled = scale_pair(*pair)
        found["energy"] = _energy(pair[0], scaled[0])
        return scaled, evidence


def _energy(raw: Features, scaled: Features) -> float:
    """Squared distance of unrelated places before the scaling; 0 where there is nothing to compare."""
    norm = float(scaled.values.norm())
    return REFERENCE_ENERGY * (float(raw.values.norm()) / norm) ** 2 if norm > 0 else 0.0


def _evidence(pair: tuple[Features, Features], basis: PcaBasis, codes: Mapping[int, SliceCodes]) -> Evidence:
    """Keep three channels of both images on the CPU; where there are fewer, zeros fill up."""

    def colours(features: Features) -> NDArray[np.float32]:
        three = features.values[:3].cpu().numpy()
        return np.concatenate([three, np.zeros((3 - len(three), *three.shape[1:]), np.float32)])

    def weight(features: Features) -> NDArray[np.float32]:
        array: NDArray[np.float32] = features.weight[0].cpu().numpy()
        return array

    fixed, moving = pair
    return Evidence((colours(fixed), colours(moving)), (weight(fixed), weight(moving)), basis, codes)


def concatenate(blocks: Sequence[Block]) -> Block:
    """Join the channels of blocks so that each takes its weight's share of a squared distance.

    Values are multiplied by the square root of the weight: the expected squared distance of unrelated places,
    the same for every block, stays what it is.
    """

    def join(features: Sequence[Features]) -> Features:
        values = [f.values * math.sqrt(b.weight) for f, b in zip(features, blocks, strict=True)]
        return replace(features[0], values=torch.cat(values))

    parts = tuple((count, share * block.weight) for block in blocks for count, share in block.parts)
    return Block(join([b.fixed for b in blocks]), join([b.moving for b in blocks]), parts, 1.0)
