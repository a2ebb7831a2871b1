"""What a registration says about itself: stages, times, findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from dinoreg.runtime import return_freed_memory

# Called with the name of a stage before it runs.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did: its name, how long it took and what it found."""

    name: str
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


class StageClock:
    """Times stages one after the other, on a GPU too, and lets no freed memory pile up between them."""

    def __init__(self, device: torch.device, progress: Progress) -> None:
        self._device = device
        self._progress = progress
        self.reports: list[StageReport] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage; what is put into the yielded dictionary goes into its report."""
        self._progress(name)
        details: dict[str, Any] = {}
        begin = time.perf_counter()
        yield details
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return_freed_memory()
        self.reports.append(StageReport(name, round(time.perf_counter() - begin, 4), details))
