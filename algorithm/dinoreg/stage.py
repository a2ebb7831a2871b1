"""What a stage of a registration is, what it gives, and how it is timed and reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.encoders.pair import PairFeatures
from dinoreg.facts import plain
from dinoreg.runtime import return_freed_memory
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice


@dataclass(frozen=True, slots=True, eq=False)
class StageResult:
    """What a stage gives.

    Attributes:
        deformation: on the lattice of the stage, or on a finer one.
        facts: a frozen dataclass of what it found, for the report; None where there is nothing to say.
    """

    deformation: Deformation
    facts: Any = None


class Stage(Protocol):
    """A step from one deformation to a better one, with every number that it uses already in cells."""

    @property
    def name(self) -> str:
        """For the report."""

    @property
    def lattice(self) -> Lattice:
        """Where it takes its start."""

    @property
    def safe(self) -> bool:
        """Whether its result is one to fall back to when a later stage fails."""

    def run(self, start: Deformation, features: PairFeatures, frame: Frame) -> StageResult:
        """Improve a deformation.

        Args:
            start: on the lattice of this stage.
            features: of the pair.
            frame: that all lattices lie over.
        """


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did.

    Attributes:
        name: of the stage.
        seconds: that it took.
        facts: that it found.
        widened: how many times as wide as planned its cells were, for lack of memory.
    """

    name: str
    seconds: float
    facts: Any = None
    widened: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; "cells_widened" only where memory did not suffice."""
        less = {"cells_widened": self.widened} if self.widened > 1 else {}
        return {"name": self.name, "seconds": self.seconds, **less, "details": plain(self.facts) or {}}


# -> a displacement in the form of the result, (I, J, K, 3) voxels of the fixed image.
MakeField = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class StageBegins:
    """A stage is about to run."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class StageEnded:
    """A stage has run.

    Attributes:
        report: of it.
        fallback: makes a field that the pair can fall back to, where this stage gives one.
    """

    report: StageReport
    fallback: MakeField | None = None


# How a caller follows a registration: progress, a field to fall back to.
OnStage = Callable[[StageBegins | StageEnded], None]


class HasFacts(Protocol):
    """Anything that a step of a registration gives."""

    @property
    def facts(self) -> Any:
        """For the report."""


R = TypeVar("R", bound=HasFacts)


class StageClock:
    """Times steps one after the other, on a GPU too, and lets no freed memory pile up between them."""

    def __init__(self, device: torch.device, on_stage: OnStage) -> None:
        self.device, self.on_stage = device, on_stage
        self.reports: list[StageReport] = []

    def timed(
        self, name: str, step: Callable[[], R], fallback: Callable[[R], MakeField | None] = lambda _: None
    ) -> R:
        """Run a step, report it, and tell of it.

        Args:
            name: of the step.
            step: what is run.
            fallback: from its result to a field to fall back to, if it is one.
        """
        self.on_stage(StageBegins(name))
        begin = time.perf_counter()
        result = step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return_freed_memory()
        widened = getattr(result, "widened", 1)
        report = StageReport(name, round(time.perf_counter() - begin, 4), result.facts, widened)
        self.reports.append(report)
        self.on_stage(StageEnded(report, fallback(result)))
        return result
