"""The encoders of a run: each is loaded once, and every image that comes again is encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import torch

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.registry import Load, load_encoder, make_source
from dinoreg.encoders.source import FeatureSource
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.encoders import Encoder

CACHE_BYTES = 2 << 30


class EncoderPool:
    """Gives the sources of features that any configuration names; one for the same settings."""

    def __init__(
        self, device: torch.device, *, load: Load = load_encoder, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """Begin without encoders.

        Args:
            device: where they compute.
            load: makes the encoders that the settings name.
            cache_bytes: of features that are remembered.
        """
        self.device = device
        self._load, self._cache = load, FeatureCache(cache_bytes)
        self._sources: dict[Encoder, FeatureSource] = {}

    def sources(self, settings: Sequence[Encoder]) -> tuple[FeatureSource, ...]:
        """Return the sources that the settings name, loaded now if they have not been.

        Raises:
            WeightsError: the weights of one are absent or not the right ones.
            ConfigError: a saved basis cannot be used.
        """
        for one in settings:
            if one not in self._sources:
                self._sources[one] = make_source(one, self._load(one, self.device), self._cache, self.device)
        return tuple(self._sources[one] for one in settings)

    @contextmanager
    def remembered(self, image: PreparedImage) -> Iterator[PreparedImage]:
        """Give an image whose features are remembered for this long, however often it is encoded."""
        if image.identity:
            yield image
            return
        known = replace(image, identity=uuid4().hex)
        try:
            yield known
        finally:
            self._cache.forget(known.identity)
