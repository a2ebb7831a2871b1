"""A bounded cache of features: an image is encoded once, however many pairs use it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

from dinoreg.encoders.features import Features

log = logging.getLogger(__name__)


class FeatureCache:
    """Least recently used features are dropped when the limit is reached."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, Features] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Features]) -> Features:
        """Return the features under `key`, made now if they are not there."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        features = make()
        if _bytes(features) <= self._max_bytes:
            self._entries[key] = features
            while sum(map(_bytes, self._entries.values())) > self._max_bytes:
                self._entries.popitem(last=False)
        return features


def _bytes(features: Features) -> int:
    return sum(t.numel() * t.element_size() for t in (features.values, features.weight))
