"""Register one pair: features, stages, verdict, guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.evidence import Evidence
from dinoreg.encoders.pair import PairFeatures, cut_images
from dinoreg.encoders.pool import EncoderPool
from dinoreg.guard.guard import Guarded, GuardFacts, guard_deformation, guard_voxels
from dinoreg.guard.verdict import Verdict, gather_evidence, judge
from dinoreg.optimise.agreement import explained_by
from dinoreg.pipeline.ensemble import EncodedPair, EncodingFacts, average_over_blocks, encode_pair
from dinoreg.pipeline.plan import Plan, coarser_stage, make_plan
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.preprocess.prepare import PreparedImage, on_working_grid, prepare_image
from dinoreg.runtime import settle_vector_math
from dinoreg.settings.config import Config
from dinoreg.space.deformation import Deformation
from dinoreg.space.orientation import RAS, orientation_of
from dinoreg.space.working import WorkingGrid, working_grid
from dinoreg.stage import (
    MakeField,
    OnStage,
    Stage,
    StageClock,
    StageReport,
    StageResult,
)
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
        verdict: whether the result can be believed; None where no features were compared.
    """

    displacement: NDArray[np.float32]
    plan: Plan
    stages: tuple[StageReport, ...]
    guard: GuardFacts
    device: torch.device
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None

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

    def prepare(scan: Scan) -> PreparedImage:
        return prepare_image(
            scan.values,
            config.preprocess,
            modality=scan.modality,
            mask=scan.mask,
            comes_again=scan.comes_again,
            invalid=scan.invalid,
        )

    grid = pair.fixed.grid
    return register_prepared(
        prepare(pair.fixed),
        prepare(pair.moving),
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
    settle_vector_math()
    image = working_grid(fixed.values.shape, spacing_mm, orientation, max_voxels=config.features.max_voxels)
    working = image if config.features.grid == "cubic" and not image.is_image else None
    if working:
        fixed, moving = on_working_grid(fixed, working), on_working_grid(moving, working)
        spacing_mm, orientation = working.spacing_mm, RAS
    box, shape = _common_box(fixed, moving, config), fixed.values.shape
    plan = make_plan(config, shape, spacing_mm, box, orientation=orientation)
    clock = StageClock(device, on_stage)
    sources = (pool or EncoderPool(device)).sources(config.features.encoders) if _encodes(plan) else ()
    verdict: Verdict | None = None
    evidence: tuple[Evidence, ...] = ()
    encoded: EncodedPair | None = None
    if plan.compares_features:

        def encode(widened: int) -> _Encoded:
            made = make_plan(config, shape, spacing_mm, box, orientation=orientation, widened=widened)
            images = fixed, moving
            return _Encoded(
                made, encode_pair(sources, config.features, images, made.frame, made.finest, device)
            )

        wider = lambda widened: 2 * widened if widened < _WIDEST else None  # noqa: E731
        found = clock.timed("features", lambda: until_it_fits("features", encode, 1, wider)).value
        plan, encoded = found.plan, found.pair
        del found
    course = _Course(plan, clock, working, config)
    state = Deformation.identity(plan.finest, device=device)
    if encoded is not None:
        features = encoded.features
        evidence = features.evidence
        state = course.run(plan.start, state, features)
        state = average_over_blocks(features, lambda alone: course.run(plan.correct, state, alone))
        verdict = _judge(plan, features, state, fixed, moving, masked=config.masked)
        del features, encoded  # the guard works on whole volumes: let both not be there at once
    if plan.free:
        images = cut_images(fixed, moving, plan.frame, masked=config.masked, device=device)
        state = course.run(plan.free, state, PairFeatures(images=images, guides=sources))
    guarded = course.guard(
        state.vectors, lambda u: guard_deformation(replace(state, vectors=u), plan.frame, config.guard)
    )
    if working:
        vectors, voxel_mm = course.to_image(guarded.vectors), working.image_spacing_mm
        guarded = course.guard(vectors, lambda u: guard_voxels(u, voxel_mm, config.guard))
    stages = tuple(course.clock.reports)
    return Registration(_as_file(guarded.vectors), plan, stages, guarded.facts, device, evidence, verdict)


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """A plan under way: its clock, and how the grid that is worked on leads back to the image."""

    plan: Plan
    clock: StageClock
    working: WorkingGrid | None
    config: Config

    def run(self, stages: Sequence[Stage], state: Deformation, features: PairFeatures) -> Deformation:
        """Run stages one after the other, each from where the last one left off."""
        for stage in stages:
            state = self._run_one(stage, state, features)
        return state

    def to_image(self, vectors: Tensor) -> Tensor:
        """Bring (3, *S) voxels of the working grid to those of the image."""
        return self.working.displacement_to_image(vectors) if self.working else vectors

    def guard(self, vectors: Tensor, guard: Callable[[Tensor], Guarded]) -> Guarded:
        """Guard a displacement."""
        return self.clock.timed("guard", lambda: here_or_on_the_host("guard", guard, vectors))

    def _run_one(self, stage: Stage, state: Deformation, features: PairFeatures) -> Deformation:
        frame = self.plan.frame

        def fallback(result: StageResult) -> MakeField | None:
            if not stage.safe:
                return None
            return lambda: _as_file(self.to_image(result.deformation.to_voxels(self.plan.frame)))

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


def _judge(
    plan: Plan,
    features: PairFeatures,
    state: Deformation,
    fixed: PreparedImage,
    moving: PreparedImage,
    *,
    masked: bool,
) -> Verdict | None:
    if plan.judged is None:
        return None
    seen = features.on(plan.judged.lattice, plan.judged.weights)
    images = cut_images(fixed, moving, plan.frame, masked=masked, device=state.vectors.device)
    evidence = gather_evidence(
        seen.fixed,
        seen.moving,
        state.on(plan.judged.lattice).vectors,
        explained=explained_by(images, state.on(plan.finest)),
        one_family=fixed.family == moving.family,
    )
    return judge(evidence)


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
