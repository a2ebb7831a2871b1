"""From the settings of a start to the stage that runs it."""

from __future__ import annotations

from typing import assert_never

from dinoreg.settings.stages import (
    AffineStart,
    CentresStart,
    HypothesesStart,
    SearchStart,
    SlicesStart,
    Start,
)
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice
from dinoreg.stage import Stage
from dinoreg.start.affine import AffineStage
from dinoreg.start.centres import CentresStage
from dinoreg.start.hypotheses import HypothesesStage
from dinoreg.start.search import SearchStage
from dinoreg.start.slices import SlicesStage


def plan_start(settings: Start, lattice: Lattice, frame: Frame) -> Stage:
    """Return a start step with its lengths in cells of a lattice over the box of a frame."""
    match settings:
        case CentresStart():
            return CentresStage(settings, lattice)
        case SlicesStart():
            return SlicesStage.planned(settings, lattice, frame.orientation)
        case AffineStart():
            return AffineStage(settings, lattice)
        case HypothesesStart():
            return HypothesesStage.planned(settings, lattice, frame.length_scale)
        case SearchStart():
            return SearchStage.planned(settings, lattice, frame.orientation)
        case _:
            assert_never(settings)
