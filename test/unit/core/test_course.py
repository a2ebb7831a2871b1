"""Stages run one after the other, and step down where memory does not suffice; on stages made up for this."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from dinoreg.course import Course
from dinoreg.encoders.pair import PairFeatures
from dinoreg.errors import OutOfRoomError
from dinoreg.guard.guard import Guarded
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import StageClock, StageEnded, StageResult

FRAME = Frame((16, 24, 32), (1.0, 1.0, 1.0), ((0, 16), (0, 24), (0, 32)))
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Push:
    """Adds so many millimetres along the first axis; fits into memory on cells of `fits_mm` or wider."""

    name: str
    lattice: Lattice
    mm: float
    safe: bool = False
    fits_mm: float = 0.0

    def run(self, start, features, frame):
        if self.lattice.spacing_mm[0] < self.fits_mm:
            raise torch.OutOfMemoryError("out of memory")
        vectors = start.vectors.clone()
        vectors[0] += self.mm / self.lattice.spacing_mm[0]
        return StageResult(Deformation(vectors, self.lattice), facts=None)


def _coarser(stage):
    wide = stage.lattice.widened(2)
    return replace(stage, lattice=wide) if min(wide.shape) >= 2 else None


def _course():
    told = []
    clock = StageClock(CPU, told.append)
    as_field = lambda found: found.to_voxels(FRAME).movedim(0, -1).numpy()  # noqa: E731
    return Course(clock, FRAME, _coarser, as_field), told


def _run(course, *stages):
    return course.run(stages, Deformation.identity(FRAME.lattice((4, 4, 4))), PairFeatures())


def test_each_stage_goes_on_from_the_last_one():
    course, _ = _course()
    found = _run(course, Push("a", FRAME.lattice((2, 2, 2)), 3.0), Push("b", FRAME.lattice((1, 2, 4)), -5.0))
    assert found.lattice == FRAME.lattice((1, 2, 4))
    assert torch.equal(found.vectors[0], torch.full((16, 12, 8), -2.0))
    assert not found.vectors[1:].any()
    assert [report.name for report in course.clock.reports] == ["a", "b"]


def test_a_stage_without_room_runs_on_wider_cells_and_says_so():
    course, _ = _course()
    found = _run(course, Push("a", FRAME.lattice((1, 1, 1)), 3.0, fits_mm=4.0))
    assert found.lattice.stride == (4, 4, 4)
    assert [report.widened for report in course.clock.reports] == [4]


def test_a_stage_that_never_fits_ends_in_one_error():
    course, _ = _course()
    with pytest.raises(OutOfRoomError, match="not enough memory: a"):
        _run(course, Push("a", FRAME.lattice((1, 1, 1)), 3.0, fits_mm=99.0))


def test_a_safe_stage_leaves_a_field_to_fall_back_to():
    course, told = _course()
    on = FRAME.lattice((2, 2, 2))
    _run(course, Push("a", on, 3.0, safe=True), Push("b", on, -5.0))
    first, second = (event for event in told if isinstance(event, StageEnded))
    assert second.fallback is None
    np.testing.assert_array_equal(first.fallback()[..., 0], np.full((16, 24, 32), 3.0))


def test_whole_volumes_are_timed_under_their_name():
    course, _ = _course()
    guarded = course.on_whole_volumes("guard", lambda u: Guarded(2 * u, "facts"), torch.ones(3, 2, 2, 2))
    assert float(guarded.vectors.mean()) == 2
    assert [(report.name, report.facts) for report in course.clock.reports] == [("guard", "facts")]
