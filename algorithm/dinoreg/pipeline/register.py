"""Register one pair: features, stages, verdict, guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.evidence import Evidence
from dinoreg.encoders.pair import PairFeatures, cut_images, intensities_on
from dinoreg.encoders.pool import EncoderPool
from dinoreg.guard.guard import Guarded, GuardFacts, guard_deformation, guard_voxels
from dinoreg.guard.linear_verdict import judge_map
from dinoreg.guard.verdict import Verdict
from dinoreg.linear.align import align
from dinoreg.linear.evidence import find_rotation
from dinoreg.linear.levels import Placed
from dinoreg.linear.move import in_mm, in_voxels, linear_part, read_through, scaling
from dinoreg.linear.way_back import WayBack
from dinoreg.pipeline.ensemble import EncodedPair, EncodingFacts, average_over_blocks, encode_pair
from dinoreg.pipeline.plan import Plan, coarser_stage, make_plan
from dinoreg.preprocess.blank_ends import with_blank_ends
from dinoreg.preprocess.intensity import image_family
from dinoreg.preprocess.pair import ImagePair
from dinoreg.preprocess.prepare import PreparedImage, on_working_grid, prepare_scan
from dinoreg.runtime import settle_torch
from dinoreg.settings.config import Config
from dinoreg.settings.modalities import for_families
from dinoreg.space.deformation import Deformation
from dinoreg.space.orientation import RAS, orientation_of
from dinoreg.space.working import working_grid
from dinoreg.stage import MakeField, OnStage, Stage, StageClock, StageReport, StageResult
from dinoreg.start.slice_matching import SliceMatch
from dinoreg.start.slices import SlicesFacts
from dinoreg.step_down import here_or_on_the_host, until_it_fits

# Times as wide as planned that the cells of the features may become for lack of memory.
_WIDEST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The result of one pair.

    Attributes:
        displacement: (I, J, K, 3) float32, voxels of the fixed image, pull, identity not included.
        plan: every number that was used.
        stages: in the order in which they ran.
        guard: what was repaired last, and how many folds are left.
        device: where it was computed.
        evidence: what the encoders with a PCA saw, to be drawn or written.
        verdict: whether the result can be believed; None where nothing was compared.
        linear: (4, 4) voxels of fixed to voxels of moving, the map that the displacement ends with; None
            where the images as a whole were not moved.
    """

    displacement: NDArray[np.float32]
    plan: Plan
    stages: tuple[StageReport, ...]
    guard: GuardFacts
    device: torch.device
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    linear: NDArray[np.float64] | None = None

    @property
    def deformed(self) -> bool:
        """Whether any stage could find a displacement beside the linear map."""
        return bool(self.plan.start or self.plan.correct or self.plan.free)

    @property
    def matches(self) -> tuple[SliceMatch, ...]:
        """How slices were matched, to be drawn."""
        found = [stage.facts for stage in self.stages if isinstance(stage.facts, SlicesFacts)]
        return tuple(facts.match for facts in found if facts.match is not None)


def register(
    pair: ImagePair,
    config: Config,
    *,
    device: torch.device,
    pool: EncoderPool | None = None,
    on_stage: OnStage = lambda event: None,
) -> Registration:
    """Register two images of one shape, voxel to voxel.

    Args:
        pair: the images.
        config: all settings.
        device: where to compute.
        pool: of the whole run, so that encoders are loaded and images encoded once; by default a new one.
        on_stage: told when each stage begins and ends.

    Raises:
        SpaceError: the shapes differ.
        DataError: an image without contrast.
        WeightsError: the weights of an encoder are absent or not the right ones.
        ConfigError: an encoder that does not take these images.
        NumericalError: the displacement is not finite.
    """
    pair.check()
    grid = pair.fixed.grid
    config = for_families(config, *(image_family(s.modality, s.values) for s in (pair.fixed, pair.moving)))
    if config.preprocess.beyond_view == "continued":
        pair = with_blank_ends(pair)
    return register_prepared(
        prepare_scan(pair.fixed, config.preprocess),
        prepare_scan(pair.moving, config.preprocess),
        grid.spacing_mm,
        config,
        device=device,
        orientation=orientation_of(grid.affine),
        pool=pool,
        on_stage=on_stage,
    )


def register_prepared(
    fixed: PreparedImage,
    moving: PreparedImage,
    spacing_mm: tuple[float, ...],
    config: Config,
    *,
    device: torch.device,
    orientation: str = RAS,
    pool: EncoderPool | None = None,
    on_stage: OnStage = lambda event: None,
) -> Registration:
    """Register two images that are prepared already; otherwise as `register`.

    Args:
        fixed: (I, J, K).
        moving: the same shape.
        spacing_mm: of the fixed image.
        config: all settings but those of the preparation.
        device: where to compute.
        orientation: of both images, which are joined voxel to voxel.
        pool: as in `register`.
        on_stage: as in `register`.
    """
    settle_torch()
    clock = StageClock(device, on_stage)
    way = WayBack()
    if config.linear is not None and config.linear.when == "always":
        settings, to_mm = config.linear, scaling(spacing_mm)
        found = clock.timed("linear", lambda: align(Placed(fixed, to_mm), Placed(moving, to_mm), settings))
        linear = in_voxels(found.matrix, to_mm)
        way, moving = replace(way, linear=linear), read_through(moving, linear)
    image = working_grid(fixed.values.shape, spacing_mm, orientation, max_voxels=config.features.max_voxels)
    if config.features.grid == "cubic" and not image.is_image:
        way = replace(way, working=image)
        fixed, moving = on_working_grid(fixed, image), on_working_grid(moving, image)
        spacing_mm, orientation = image.spacing_mm, RAS
    sources = pool or EncoderPool(device)
    result = _register_on_grid(fixed, moving, spacing_mm, orientation, config, sources, clock, way)
    linear_alone = way.linear is not None and not result.deformed
    return replace(result, verdict=judge_map(fixed, moving, spacing_mm)) if linear_alone else result


def _register_on_grid(
    fixed: PreparedImage,
    moving: PreparedImage,
    spacing_mm: tuple[float, ...],
    orientation: str,
    config: Config,
    pool: EncoderPool,
    clock: StageClock,
    way: WayBack,
) -> Registration:
    device = clock.device
    box, shape = _common_box(fixed, moving, config), fixed.values.shape
    plan = make_plan(config, shape, spacing_mm, box, orientation=orientation)
    sources = pool.sources(config.features.encoders) if _encodes(plan) else ()
    verdict: Verdict | None = None
    evidence: tuple[Evidence, ...] = ()
    features = PairFeatures()
    if plan.compares_features:

        def encode(widened: int) -> _Encoded:
            made = make_plan(config, shape, spacing_mm, box, orientation=orientation, widened=widened)
            images = fixed, moving
            return _Encoded(
                made, encode_pair(sources, config.features, images, made.frame, made.finest, device)
            )

        wider = lambda widened: 2 * widened if widened < _WIDEST else None  # noqa: E731
        found = clock.timed("features", lambda: until_it_fits("features", encode, 1, wider)).value
        plan, features = found.plan, found.pair.features
        del found
    course = _Course(plan, clock, way, config)
    state = course.run(plan.start, Deformation.identity(plan.finest, device=device), features)
    if config.linear is not None and config.linear.when == "evidence" and _encodes(plan):
        # In millimetres even where the lengths of a configuration count voxels, or a rotation would shear.
        settings, to_mm = config.linear, scaling(spacing_mm)
        start = in_mm(in_voxels(linear_part(state, plan.frame), scaling(plan.frame.spacing_mm)), to_mm)
        turn = clock.timed("rotation", lambda: find_rotation(fixed, moving, spacing_mm, start, settings))
        if turn.matrix is not None:
            del features, state  # what was found without the rotation is of no use with it
            voxels = in_voxels(turn.matrix, to_mm)
            turned, alone = read_through(moving, voxels), config.model_copy(update={"linear": None})
            way = replace(way, linear=way.of_image(voxels))
            return _register_on_grid(fixed, turned, spacing_mm, orientation, alone, pool, clock, way)
    if plan.compares_features:
        evidence = features.evidence
        state = average_over_blocks(features, lambda alone: course.run(plan.correct, state, alone))
        if plan.detail:
            features = replace(
                features, images=cut_images(fixed, moving, plan.frame, masked=config.masked, device=device)
            )
            state = course.run((plan.detail,), state, features)
        if plan.judged:
            on, kept = (plan.frame, plan.finest), config.masked
            seen, there = (intensities_on(i, *on, masked=kept, device=device) for i in (fixed, moving))
            alike = fixed.family == moving.family
            verdict = plan.judged.verdict(features, state, (seen, there), one_family=alike)
    del features  # the guard works on whole volumes: let both not be there at once
    if plan.free:
        images = cut_images(fixed, moving, plan.frame, masked=config.masked, device=device)
        state = course.run(plan.free, state, PairFeatures(images=images, guides=sources))
    guarded = course.guard(
        state.vectors, lambda u: guard_deformation(replace(state, vectors=u), plan.frame, config.guard)
    )
    if way.working:
        vectors = here_or_on_the_host("back to the image", way.on_image, guarded.vectors)
        voxel_mm = way.working.image_spacing_mm
        guarded = course.guard(vectors, lambda u: guard_voxels(u, voxel_mm, config.guard))
    field = _as_file(here_or_on_the_host("back to the image", way.moved, guarded.vectors))
    return Registration(
        field, plan, tuple(clock.reports), guarded.facts, device, evidence, verdict, way.linear
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """A plan under way: its clock, and the way back to the image."""

    plan: Plan
    clock: StageClock
    way: WayBack
    config: Config

    def run(self, stages: Sequence[Stage], state: Deformation, features: PairFeatures) -> Deformation:
        """Run stages one after the other, each from where the last one left off."""
        for stage in stages:
            state = self._run_one(stage, state, features)
        return state

    def guard(self, vectors: Tensor, guard: Callable[[Tensor], Guarded]) -> Guarded:
        """Guard a displacement."""
        return self.clock.timed("guard", lambda: here_or_on_the_host("guard", guard, vectors))

    def _run_one(self, stage: Stage, state: Deformation, features: PairFeatures) -> Deformation:
        way, frame = self.way, self.plan.frame

        def fallback(result: StageResult) -> MakeField | None:
            if not stage.safe:
                return None
            # On the host: it is asked for when a device has failed.
            kept = replace(result.deformation, vectors=result.deformation.vectors.cpu())
            return lambda: _as_file(way.moved(way.on_image(kept.to_voxels(frame))))

        result = self.clock.timed(
            stage.name,
            lambda: until_it_fits(
                stage.name,
                lambda one: one.run(state.on(one.lattice), features, frame),
                stage,
                lambda one: coarser_stage(one, frame, self.config),
            ),
            lambda found: fallback(found.value),
        )
        return result.value.deformation


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """Features on the cells of a plan."""

    plan: Plan
    pair: EncodedPair

    @property
    def facts(self) -> EncodingFacts:
        return self.pair.facts


def _encodes(plan: Plan) -> bool:
    """Whether any stage asks for an encoder."""
    return plan.compares_features or bool(plan.free)


def _common_box(fixed: PreparedImage, moving: PreparedImage, config: Config) -> list[slice] | None:
    """The box that holds the content of both; without masks what lies beside it counts as well."""
    if not config.masked:
        return None
    both = zip(fixed.content, moving.content, strict=True)
    return [slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in both]


def _as_file(vectors: Tensor) -> NDArray[np.float32]:
    """(3, I, J, K) -> (I, J, K, 3) on the CPU, a view: the file wants the components apart as well."""
    array: NDArray[np.float32] = vectors.cpu().movedim(0, -1).numpy()
    return array
