"""Register one pair: features, stages, verdict, guard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dinoreg.course import Course
from dinoreg.encoders.ensemble import EncodedPair, average_over_blocks, encode_pair
from dinoreg.encoders.pair import PairFeatures, cut_images
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.source import FeatureSource
from dinoreg.field_verdict import judge_field
from dinoreg.guard.guard import Guarded, guard_deformation, guard_voxels
from dinoreg.guard.linear_verdict import judge_map
from dinoreg.guard.verdict import Verdict
from dinoreg.linear.align import align
from dinoreg.linear.evidence import find_rotation
from dinoreg.linear.joined import JoinedImages
from dinoreg.linear.way_back import WayBack
from dinoreg.optimise.instance.stage import AdamFacts
from dinoreg.pipeline.plan import Plan, coarser_stage, make_plan
from dinoreg.pipeline.registration import Registration
from dinoreg.preprocess.blank_ends import as_shown
from dinoreg.preprocess.intensity import image_family
from dinoreg.preprocess.moved import moved_along
from dinoreg.preprocess.pair import ImagePair, Margins
from dinoreg.preprocess.prepare import PreparedImage, prepare_scan
from dinoreg.runtime import is_out_of_memory, settle_torch
from dinoreg.settings.config import Config
from dinoreg.settings.modalities import for_families
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.orientation import RAS, orientation_of
from dinoreg.stage import OnStage, StageClock
from dinoreg.step_down import here_or_on_the_host, until_it_fits
from regtask.errors import TaskError

log = logging.getLogger(__name__)

# Times as wide as planned that the cells of the features may become for lack of memory.
_WIDEST = 8


def register(
    pair: ImagePair,
    config: Config,
    *,
    device: torch.device,
    pool: EncoderPool | None = None,
    on_stage: OnStage = lambda event: None,
) -> Registration:
    """Register two images of one shape, voxel to voxel.

    Padding of both is left out where the settings let a field of view go on; the result covers it too.

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
    given, grid = pair, pair.fixed.grid
    families = [image_family(scan.modality, scan.values) for scan in (pair.fixed, pair.moving)]
    asked, config = config, for_families(config, *families)
    if asked.features != config.features:
        log.info("intensities are not compared: fixed is %s, moving %s", *families)
    pair, margins = as_shown(pair, config.preprocess)
    result = register_prepared(
        prepare_scan(pair.fixed, config.preprocess),
        prepare_scan(pair.moving, config.preprocess),
        grid.spacing_mm,
        config,
        device=device,
        orientation=orientation_of(grid.affine),
        margins=margins,
        pool=pool,
        on_stage=on_stage,
    )
    if result.verdict is not None or not result.deformed:
        return result
    return replace(result, verdict=judge_field(given, result.displacement, device))


def register_prepared(
    fixed: PreparedImage,
    moving: PreparedImage,
    spacing_mm: tuple[float, ...],
    config: Config,
    *,
    device: torch.device,
    orientation: str = RAS,
    margins: Margins = (),
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
        margins: voxels that were cut off both before, to which the result is to lead back.
        pool: as in `register`.
        on_stage: as in `register`.
    """
    settle_torch()
    clock = StageClock(device, on_stage)
    pair = JoinedImages(fixed, moving, spacing_mm, orientation, WayBack(margins=margins))
    del fixed, moving  # the pair alone holds them, so that they go where others take their place
    linear = config.linear
    if linear is not None and linear.when == "always":
        pair = pair.through(clock.timed("linear", lambda: align(*pair.placed, linear)).matrix)
    if config.features.grid == "cubic":
        pair = pair.on_cubic_voxels(config.features.max_voxels)
    pool = pool or EncoderPool(device)

    def sought(pair: JoinedImages, to_beat: Verdict | None = None) -> Registration | Verdict:
        # With every image that moving becomes on its way fixed would be encoded anew.
        with pool.remembered(pair.fixed) if config.renewed else nullcontext(pair.fixed) as known:
            return _Run(replace(pair, fixed=known), config, pool, clock, to_beat).registration()

    either = config.sought_from == "evidence" and pair.way.linear is None
    first, other = pair.both_ways if either else (pair, None)
    result = sought(first)
    assert isinstance(result, Registration)
    if other and result.verdict and result.verdict.asks_for_another:
        try:
            result = result.or_better(sought(other, result.verdict), tuple(clock.reports))
        except (TaskError, RuntimeError, MemoryError) as error:  # no reason to lose what was found
            if not (isinstance(error, TaskError) or is_out_of_memory(error)):
                raise
            log.warning("not sought from the other image: %s", error)
    linear_alone = pair.way.linear is not None and not result.deformed
    return replace(result, verdict=judge_map(*pair.images, pair.spacing_mm)) if linear_alone else result


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A registration on the grid that is worked on."""

    pair: JoinedImages
    config: Config
    pool: EncoderPool
    clock: StageClock
    to_beat: Verdict | None = None

    def registration(self) -> Registration | Verdict:
        """Encode, start, turn where the images ask for it, correct, judge, move freely, guard.

        The verdict alone where it does not beat another one.
        """
        plan, features, verdict = self._plan(), PairFeatures(), None
        sources = self.pool.sources(self.config.features.encoders) if plan.encodes else ()
        if plan.compares_features:
            plan, features = self._encoded(sources)
        course = self._course(plan)
        found = course.run(plan.start, Deformation.identity(plan.finest, device=self.clock.device), features)
        if (turned := self._turned(found, plan)) is not None:
            del features, found  # what was found without the rotation is of no use with it
            return turned.registration()
        if plan.compares_features:
            found = average_over_blocks(features, partial(course.run, plan.correct, found))
            if plan.judged:
                images, exchanged = self.pair.images, self.pair.way.exchanged
                verdict = plan.judged.verdict(features, found, images, plan.frame, exchanged=exchanged)
            if self.to_beat and verdict and not verdict.is_clearly_better_than(self.to_beat):
                return verdict
            found = self._refined(course, plan, found, features)
        evidence = features.evidence
        if self.pair.way.exchanged:
            evidence = () if self.pair.way.turned is not None else tuple(one.exchanged() for one in evidence)
        del features  # the guard works on whole volumes: let both not be there at once
        if plan.free:
            guides = PairFeatures(guides=sources)
            found = course.run(plan.free, found, self._with_images(guides, plan.frame))
        guarded = self._guarded(course, found)
        way, device = self.pair.way, self.clock.device
        field = here_or_on_the_host("back to the image", way.as_field, guarded.vectors)
        return Registration(
            field,
            plan,
            tuple(self.clock.reports),
            guarded.facts,
            device,
            evidence=evidence,
            verdict=verdict,
            linear=way.linear,
            margins=way.margins,
            exchanged=way.exchanged,
        )

    def _plan(self, widened: int = 1) -> Plan:
        """Over the box that holds the content; without masks what lies beside it counts as well."""
        pair, config = self.pair, self.config
        box = pair.content if config.masked else None
        return make_plan(
            config,
            pair.shape,
            pair.spacing_mm,
            box,
            orientation=pair.orientation,
            widened=widened,
            stored_mm=pair.stored_mm,
        )

    def _encoded(self, sources: Sequence[FeatureSource]) -> tuple[Plan, PairFeatures]:
        """On the finest cells that there is memory for, with the plan that has these."""

        def encode(widened: int) -> EncodedPair:
            plan = self._plan(widened)
            settings, device = self.config.features, self.clock.device
            return encode_pair(sources, settings, self.pair.images, plan.frame, plan.finest, device)

        def wider(widened: int) -> int | None:
            return 2 * widened if widened < _WIDEST else None

        found = self.clock.timed("features", lambda: until_it_fits("features", encode, 1, wider))
        return self._plan(found.widened), found.value.features

    def _course(self, plan: Plan) -> Course:
        frame, way = plan.frame, self.pair.way
        return Course(
            self.clock,
            frame,
            coarser=lambda stage: coarser_stage(stage, frame, self.config),
            as_field=lambda found: way.as_field(way.on_image(found.to_voxels(frame))),
        )

    def _turned(self, found: Deformation, plan: Plan) -> _Run | None:
        """The same with moving turned; None where the images ask for no rotation."""
        linear, pair = self.config.linear, self.pair
        if linear is None or linear.when != "evidence" or not plan.encodes:
            return None
        start = pair.nearest_map(found, plan.frame)
        search = partial(find_rotation, *pair.images, pair.spacing_mm, start, linear)
        matrix = self.clock.timed("rotation", search).matrix
        if matrix is None:
            return None
        alone = self.config.model_copy(update={"linear": None})
        return replace(self, pair=pair.through(matrix), config=alone)

    def _refined(self, course: Course, plan: Plan, found: Deformation, features: PairFeatures) -> Deformation:
        """By features of moving where it was brought, and on finer cells by the images themselves."""
        if plan.renewed is not None:
            *_, last = (report.facts for report in self.clock.reports if isinstance(report.facts, AdamFacts))
            if (stage := plan.renewed.after(last)) is not None:
                found = course.run((stage,), found, replace(features, renewed=self._renewed(plan)))
        if plan.detail is None:
            return found
        return course.run((plan.detail,), found, self._with_images(features, plan.frame))

    def _renewed(self, plan: Plan) -> Callable[[Deformation], PairFeatures]:
        """The features of fixed and of moving where a deformation brings it."""
        settings, device = self.config.features, self.clock.device
        sources = self.pool.sources(settings.encoders)

        def renewed(found: Deformation) -> PairFeatures:
            moved = moved_along(self.pair.moving, found.to_voxels(plan.frame))
            images = self.pair.fixed, moved
            return encode_pair(sources, settings, images, plan.frame, plan.finest, device).features

        return renewed

    def _with_images(self, features: PairFeatures, frame: Frame) -> PairFeatures:
        """For stages that compare the images themselves."""
        masked, device = self.config.masked, self.clock.device
        return replace(features, images=cut_images(*self.pair.images, frame, masked=masked, device=device))

    def _guarded(self, course: Course, found: Deformation) -> Guarded:
        """On the cells of what was found, on the voxels that are worked on, and on those of the image."""
        way, stored_mm, settings = self.pair.way, self.pair.stored_mm, self.config.guard

        def on_cells(vectors: Tensor) -> Guarded:
            return guard_deformation(replace(found, vectors=vectors), course.frame, settings)

        guarded = course.on_whole_volumes("guard", on_cells, found.vectors)
        if not way.leads_elsewhere:
            return guarded
        vectors = here_or_on_the_host("back to the image", way.on_image, guarded.vectors)
        return course.on_whole_volumes("guard", lambda u: guard_voxels(u, stored_mm, settings), vectors)
