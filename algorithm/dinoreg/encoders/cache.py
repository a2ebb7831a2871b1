"""A bounded cache: an image is encoded once, however many pairs use it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows how much memory it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


T = TypeVar("T", bound=Sized)


class FeatureCache:
    """Features and tokens; the least recently used are dropped when the limit is reached."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()

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
        if key in self._entries:
            self._entries.move_to_end(key)
            kept: T = self._entries[key]
            return kept
        made = make()
        if made.nbytes <= self._max_bytes:
            self._entries[key] = made
            while sum(entry.nbytes for entry in self._entries.values()) > self._max_bytes:
                self._entries.popitem(last=False)
        return made

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
