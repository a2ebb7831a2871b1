"""What is done when memory does not suffice: the same again on coarser cells, or on the host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from dinoreg.errors import OutOfRoomError
from dinoreg.runtime import is_out_of_memory, release_memory
from regtask.errors import Fault

log = logging.getLogger(__name__)


class _HasFacts(Protocol):
    @property
    def facts(self) -> Any: ...


Size = TypeVar("Size")
R = TypeVar("R")
F = TypeVar("F", bound=_HasFacts, covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted(Generic[F]):
    """What a step gave, and how many times as wide as planned its cells were."""

    value: F
    widened: int

    @property
    def facts(self) -> Any:
        """Of the step."""
        return self.value.facts


def until_it_fits(
    name: str, run: Callable[[Size], F], size: Size, coarser: Callable[[Size], Size | None]
) -> Fitted[F]:
    """Run a step; where memory does not suffice, on cells twice as wide, and so on.

    Args:
        name: of the step, for messages.
        run: from a size to the result; it may look ahead and raise `torch.OutOfMemoryError` itself.
        size: to begin with.
        coarser: the next size, of cells twice as wide; None where there is none.

    Raises:
        OutOfRoomError: the smallest size takes too much as well.
    """
    widened = 1
    while True:
        try:
            return Fitted(run(size), widened)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        # Outside the handler: the exception holds what was computed as long as it is there.
        smaller = coarser(size)
        if smaller is None:
            remedy = "give the container or the device more memory, or use a preset with coarser cells"
            raise OutOfRoomError(Fault("not enough memory", name, got=reason, remedy=remedy))
        release_memory()
        size, widened = smaller, 2 * widened
        log.warning("%s: %s: going on with cells %d times as wide", name, reason, widened)


def here_or_on_the_host(name: str, run: Callable[[Tensor], R], vectors: Tensor) -> R:
    """Run a step on whole volumes where they are or, if the device has no room for that, on the host."""
    try:
        return run(vectors)
    except torch.OutOfMemoryError:
        if vectors.device.type == "cpu":
            raise
    release_memory()
    log.warning("%s: out of memory on %s: going on in the memory of the host", name, vectors.device)
    return run(vectors.cpu())
