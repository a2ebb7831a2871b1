"""A registration under way: stage after stage, each on coarser cells where memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.pair import PairFeatures
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.stage import HasFacts, MakeField, Stage, StageClock, StageResult
from dinoreg.step_down import here_or_on_the_host, until_it_fits

R = TypeVar("R", bound=HasFacts)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """How the steps of one pair are run.

    Attributes:
        clock: that times and reports them.
        frame: that the lattices of all stages lie over.
        coarser: a stage on cells twice as wide; None where there is none.
        as_field: a deformation on the host as (I, J, K, 3) voxels of the fixed image.
    """

    clock: StageClock
    frame: Frame
    coarser: Callable[[Stage], Stage | None]
    as_field: Callable[[Deformation], NDArray[np.float32]]

    def run(self, stages: Sequence[Stage], start: Deformation, features: PairFeatures) -> Deformation:
        """Run stages, each from where the last one left off.

        Args:
            stages: in their order.
            start: on any lattice over the box of the frame.
            features: of the pair.

        Raises:
            OutOfRoomError: a stage does not fit into memory, however coarse.
        """
        for stage in stages:
            start = self._improved(stage, start, features)
        return start

    def on_whole_volumes(self, name: str, step: Callable[[Tensor], R], vectors: Tensor) -> R:
        """Run a step on whole volumes, in the memory of the host where the device has no room.

        Args:
            name: of the step.
            step: from the vectors, wherever they are.
            vectors: (3, *S).
        """
        return self.clock.timed(name, lambda: here_or_on_the_host(name, step, vectors))

    def _improved(self, stage: Stage, start: Deformation, features: PairFeatures) -> Deformation:
        def run(one: Stage) -> StageResult:
            return one.run(start.on(one.lattice), features, self.frame)

        found = self.clock.timed(
            stage.name,
            lambda: until_it_fits(stage.name, run, stage, self.coarser),
            lambda fitted: self._fallback(stage, fitted.value.deformation),
        )
        return found.value.deformation

    def _fallback(self, stage: Stage, found: Deformation) -> MakeField | None:
        if not stage.safe:
            return None
        # On the host: it is asked for when a device has failed.
        kept = replace(found, vectors=found.vectors.cpu())
        return lambda: self.as_field(kept)
