"""The plan: what a configuration means for one pair, in voxels and cells. It is written with the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, assert_never

from dinoreg.facts import plain
from dinoreg.guard.judged import Judged
from dinoreg.optimise.discrete import ConvexSearch
from dinoreg.optimise.free_form import FreeForm
from dinoreg.optimise.instance.renewed import RenewedOptimisation, share_by_voxels
from dinoreg.optimise.instance.stage import InstanceOptimisation
from dinoreg.optimise.intensities.detail import DetailOptimisation
from dinoreg.optimise.published import PublishedOptimisation, PublishedSearch
from dinoreg.settings.config import (
    Adam,
    Config,
    Discrete,
    Ffd,
    PublishedAdam,
    PublishedDiscrete,
)
from dinoreg.space.frame import Frame, box_around
from dinoreg.space.lattice import Lattice, finest_lattice_within, make_lattice
from dinoreg.space.orientation import RAS
from dinoreg.stage import Stage
from dinoreg.start.planned import plan_start

# Along an axis, below which a stage is not made coarser for lack of memory.
_FEWEST_CELLS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is run on a pair.

    Attributes:
        frame: the box of the image that is registered.
        finest: where the features are kept.
        start: the start steps.
        correct: the discrete and the Adam stages.
        renewed: after these, with features of moving where it was brought; None where there is none.
        detail: the last one on finer cells; None where there is none, or no finer cells.
        free: the free-form stages.
        judged: how the result is judged; None where no features are compared.
    """

    frame: Frame
    finest: Lattice
    start: tuple[Stage, ...]
    correct: tuple[Stage, ...]
    renewed: RenewedOptimisation | None
    detail: DetailOptimisation | None
    free: tuple[Stage, ...]
    judged: Judged | None

    @property
    def compares_features(self) -> bool:
        """Whether any stage asks for features on a lattice."""
        return bool(self.start or self.correct)

    @property
    def encodes(self) -> bool:
        """Whether any stage asks for an encoder."""
        return self.compares_features or bool(self.free)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values: every number that the settings do not state themselves."""
        every = (*self.start, *self.correct, self.renewed, self.detail, *self.free)
        stages = [{"name": stage.name, **_numbers(stage)} for stage in every if stage is not None]
        values: dict[str, Any] = plain({"frame": self.frame, "finest": self.finest, "stages": stages})
        return values


def make_plan(
    config: Config,
    image_shape: Sequence[int],
    spacing_mm: Sequence[float],
    content: Sequence[slice] | None = None,
    *,
    orientation: str = RAS,
    widened: int = 1,
    stored_mm: Sequence[float] | None = None,
) -> Plan:
    """Turn millimetres into cells.

    Args:
        config: the settings.
        image_shape: of fixed and moving.
        spacing_mm: of fixed.
        content: the smallest box that holds what varies in either image; by default the whole image.
        orientation: of the image.
        widened: take the finest cells so many times as wide, for lack of memory; lengths stay.
        stored_mm: size of the voxels of the image as it is stored; by default those of `spacing_mm`.
    """
    cubic = share_by_voxels(image_shape, stored_mm or spacing_mm)
    if not cubic:
        config = config.model_copy(update={"renewed": None})
    shape = tuple(image_shape)
    spacing = (1.0,) * len(shape) if config.voxel_lengths else tuple(float(s) for s in spacing_mm)
    scale = 1.0
    finest = make_lattice(shape, spacing, config.features.cell_mm)
    if config.features.max_cells is not None:
        finest, cell_mm = finest_lattice_within(shape, spacing, config.features.max_cells)
        scale = cell_mm / config.features.cell_mm
    finest = finest.widened(widened)

    def stride(settings: Any) -> tuple[int, ...]:
        cell_mm = getattr(settings, "cell_mm", config.features.cell_mm)
        return make_lattice(shape, spacing, cell_mm * scale, multiple_of=finest.stride).stride

    corrections = (*config.discrete, *config.adam)
    every = (*config.start, *corrections, *config.ffd)
    strides = [finest.stride, *(stride(settings) for settings in every)]
    common = tuple(math.lcm(*(one[axis] for one in strides)) for axis in range(len(shape)))
    box = box_around(content or [slice(0, n) for n in shape], common, shape)
    frame = Frame(shape, spacing, box, orientation, scale)

    def lattice(settings: Any) -> Lattice:
        return frame.lattice(stride(settings))

    return Plan(
        frame=frame,
        finest=frame.lattice(finest.stride),
        start=tuple(plan_start(one, lattice(one), frame) for one in config.start),
        correct=tuple(_correction(one, lattice(one), frame, config) for one in corrections),
        renewed=_renewal(config, lattice, cubic),
        detail=DetailOptimisation.planned(config, frame, frame.lattice(finest.stride)),
        free=tuple(FreeForm(one, lattice(one), one.control_mm * scale) for one in config.ffd),
        judged=Judged.planned(config, lattice, frame.lattice(finest.stride)),
    )


def coarser_stage(stage: Stage, frame: Frame, config: Config) -> Stage | None:
    """Return a stage on cells twice as wide, its lengths in millimetres as before.

    None where hardly any cells would be left, and for published numerics, which are compared with others'.
    """
    if isinstance(stage, DetailOptimisation):
        return stage.coarser(frame)
    settings: Any = stage.settings  # type: ignore[attr-defined]
    lattice = frame.lattice(stage.lattice.widened(2).stride)
    counts = [n for n in lattice.shape if n > 1]
    if getattr(settings, "kind", "") == "published" or not counts or min(counts) < _FEWEST_CELLS:
        return None
    if isinstance(stage, InstanceOptimisation | RenewedOptimisation):
        return replace(stage, lattice=lattice)
    if isinstance(settings, Ffd):
        guided = settings.model_copy(update={"feature_grid": max(1, settings.feature_grid // 2)})
        return FreeForm(guided, lattice, settings.control_mm * frame.length_scale)
    if isinstance(settings, Discrete):
        return _correction(settings, lattice, frame, config)
    return plan_start(settings, lattice, frame)


def _correction(
    settings: Discrete | PublishedDiscrete | Adam | PublishedAdam,
    lattice: Lattice,
    frame: Frame,
    config: Config,
) -> Stage:
    measured = config.features.intensities == "measured"
    match settings:
        case Discrete():
            radius = lattice.cells_within(settings.radius_mm * frame.length_scale)
            by_images = measured and not settings.weights
            return ConvexSearch(settings, lattice, radius, masked=config.masked, measured=by_images)
        case PublishedDiscrete():
            radius = lattice.cells_within(settings.radius_mm * frame.length_scale)
            return PublishedSearch(settings, frame.voxels, lattice, radius[0])
        case Adam():
            renewed = config.renewed if settings is config.adam[-1] else None
            before = None if renewed is None else renewed.iterations
            return InstanceOptimisation(settings, lattice, config.masked, measured, before)
        case PublishedAdam():
            return PublishedOptimisation(settings, frame.voxels, lattice)
        case _:
            assert_never(settings)


def _renewal(config: Config, lattice: Callable[[Any], Lattice], share: float) -> RenewedOptimisation | None:
    if config.renewed is None:
        return None
    adam = config.adam[-1]
    assert isinstance(adam, Adam)
    measured = config.features.intensities == "measured"
    weight = config.renewed.regularity_factor * adam.regularity_weight
    return RenewedOptimisation(config.renewed, adam, lattice(adam), config.masked, measured, weight, share)


def _numbers(stage: Any) -> dict[str, Any]:
    """What a stage holds beside settings."""
    names = [one.name for one in fields(stage) if one.name not in ("settings", "adam")]
    return {name: getattr(stage, name) for name in names}
