"""A bounded cache: an image is encoded once, however many pairs use it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from cachetools import LRUCache


class Sized(Protocol):
    """Something that knows how much memory it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


T = TypeVar("T", bound=Sized)


class FeatureCache:
    """Features and tokens; the least recently used are dropped when the limit is reached."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: LRUCache[Hashable, Any] = LRUCache(max_bytes, getsizeof=lambda entry: entry.nbytes)

    def of_image(self, identity: str, rest: Hashable, make: Callable[[], T]) -> T:
        """Return what is made of an image; one without an identity does not come again.

        Args:
            identity: of the image as it was prepared.
            rest: everything else that the value depends on.
            make: makes it.
        """
        return self.get((identity, rest), make) if identity else make()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is under `key`, made now if it is not there; a key always stands for one type."""
        kept: T | None = self._entries.get(key)
        if kept is None:
            kept = make()
            with suppress(ValueError):  # larger than the cache
                self._entries[key] = kept
        return kept

    def forget(self, identity: str) -> None:
        """Drop everything that was made of an image."""
        for key in [key for key in self._entries if isinstance(key, tuple) and key[0] == identity]:
            del self._entries[key]

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
