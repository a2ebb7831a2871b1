"""Register one pair: features, start, discrete stages, Adam stages, free-form stages, guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.errors import NumericalError
from dinoreg.guard.folds import repair_folds
from dinoreg.guard.verdict import Verdict, gather_evidence, judge
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.data_term import ssd_term, warp_and_compare
from dinoreg.optimise.discrete import search_convex, warp_weight
from dinoreg.optimise.free_form import cut_images, deform_freely
from dinoreg.optimise.measured import weigh_intensities
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.published import refine_published, search_published
from dinoreg.optimise.similarity import Similarity, lcc
from dinoreg.pipeline.encode import Block, Evidence, PairEncoder, PairFeatures
from dinoreg.pipeline.plan import Plan, cells_within, make_plan
from dinoreg.pipeline.starts import run_start
from dinoreg.preprocess.prepare import PreparedImage, on_working_grid
from dinoreg.settings.config import Adam, Config, HypothesesStart, SearchStart
from dinoreg.space.lattice import Lattice, resize_displacement
from dinoreg.space.orientation import orientation_of
from dinoreg.space.working import WorkingGrid, working_grid
from dinoreg.stage import Progress, StageClock, StageReport
from dinoreg.start.slices import SliceMatch
from regtask.errors import Fault

# -> a displacement in the form of the result.
MakeField = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The result of one pair.

    Attributes:
        displacement: (I, J, K, 3) float32, voxels of the fixed image, pull, identity not included.
        plan: every number that was used.
        stages: in the order in which they ran.
        evidence: what the encoders with a PCA saw, to be drawn or written.
        matches: how slices were matched, to be drawn.
        verdict: whether the result can be believed; None where no features were compared.
    """

    displacement: NDArray[np.float32]
    plan: Plan
    stages: tuple[StageReport, ...]
    evidence: tuple[Evidence, ...] = ()
    matches: tuple[SliceMatch, ...] = ()
    verdict: Verdict | None = None


def register_pair(
    fixed: PreparedImage,
    moving: PreparedImage,
    spacing_mm: tuple[float, ...],
    config: Config,
    *,
    device: torch.device,
    affine: NDArray[np.float64] | None = None,
    encoder: PairEncoder | None = None,
    progress: Progress = lambda stage: None,
    keep_start: Callable[[MakeField], None] = lambda make: None,
) -> Registration:
    """Register two images of one shape.

    Args:
        fixed: (I, J, K).
        moving: the same shape.
        spacing_mm: of the fixed image.
        config: all settings.
        device: where to compute.
        affine: (4, 4) index -> RAS mm of the fixed image, for the orientation of both: they are joined voxel
            to voxel. By default the axes are taken as right, anterior, superior.
        encoder: of the whole run, so that encoders are loaded and images encoded once; by default a new one.
        progress: told the name of each stage.
        keep_start: given the start as soon as there is one, as a function that makes its displacement in the
            form of the result; it is what a caller can fall back to.

    Raises:
        NumericalError: the displacement is not finite.
    """
    grid = working_grid(
        fixed.values.shape, spacing_mm, orientation_of(affine), max_voxels=config.features.max_voxels
    )
    if config.features.grid == "cubic" and not grid.is_image:
        return _register_on(grid, fixed, moving, config, device, encoder, progress, keep_start)
    clock = StageClock(device, progress)
    content = [
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(fixed.content, moving.content, strict=True)
    ]
    # Without masks the background is part of the images: what lies beside the content counts.
    within = content if config.masked else None
    plan = make_plan(config, fixed.values.shape, spacing_mm, within, orientation=orientation_of(affine))
    displacement = torch.zeros(3, *plan.finest.shape, device=device)
    lattice = plan.finest
    evidence: tuple[Evidence, ...] = ()
    matches: list[SliceMatch] = []
    verdict: Verdict | None = None

    if config.start or config.discrete or config.adam:
        encoder = encoder or PairEncoder(config, device)
        with clock.stage("features") as details:
            features = encoder.encode(fixed, moving, plan, details)
        evidence = features.evidence
        if config.start:
            displacement, lattice = _start(config, plan, features, displacement, clock, matches.append)
            keep_start(partial(_start_field, displacement, lattice, plan))
        if config.numerics == "published":
            displacement, lattice = _published(config, plan, features.blocks[0], clock), plan.voxels
        else:
            results = [
                (block.weight, *_correct(config, plan, block, displacement, lattice, clock))
                for block in features.blocks
            ]
            # Every block went through the same lattices.
            lattice = results[0][2]
            displacement = _mean([(weight, vectors) for weight, vectors, _ in results])
        verdict = _verdict(config, plan, features, displacement, lattice)
        del features  # the guard works on whole volumes: let both not be there at once
    if config.ffd:
        encoders = (encoder or PairEncoder(config, device)).encoders
        images = cut_images(fixed, moving, plan, masked=config.masked, device=device)
        displacement, lattice = deform_freely(config, plan, encoders, images, displacement, lattice, clock)

    with clock.stage("guard") as details:
        vectors = _guard(displacement, lattice, plan, config, details)
    return Registration(_as_file(vectors), plan, tuple(clock.reports), evidence, tuple(matches), verdict)


def _register_on(
    grid: WorkingGrid,
    fixed: PreparedImage,
    moving: PreparedImage,
    config: Config,
    device: torch.device,
    encoder: PairEncoder | None,
    progress: Progress,
    keep_start: Callable[[MakeField], None],
) -> Registration:
    """Register on a working grid and bring the displacement back to the image's own voxels."""

    def to_image(field: NDArray[np.float32]) -> Tensor:
        return grid.displacement_to_image(torch.from_numpy(field).movedim(-1, 0).to(device))

    found = register_pair(
        on_working_grid(fixed, grid),
        on_working_grid(moving, grid),
        grid.spacing_mm,
        config,
        device=device,
        encoder=encoder,
        progress=progress,
        keep_start=lambda make: keep_start(lambda: _as_file(to_image(make()))),
    )
    clock = StageClock(device, progress)
    with clock.stage("guard") as details:
        # Between other voxels the same displacement can fold anew.
        vectors, folds = repair_folds(
            to_image(found.displacement), max_fraction=config.guard.max_folding_percent / 100
        )
        details |= {
            "folds_before_repair": {"voxels": folds.before},
            "folds": folds.after,
            "folding_percent": 100 * folds.after / folds.voxels,
            "largest_repair_mm": folds.largest_change * max(grid.image_spacing_mm),
        }
    return replace(found, displacement=_as_file(vectors), stages=(*found.stages, *clock.reports))


def _mean(weighted: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Weighted mean of displacements; one alone comes back as it is."""
    if len(weighted) == 1:
        return weighted[0][1]
    return torch.stack([weight * vectors for weight, vectors in weighted]).sum(dim=0)


def _start(
    config: Config,
    plan: Plan,
    features: PairFeatures,
    displacement: Tensor,
    clock: StageClock,
    keep_match: Callable[[SliceMatch], None],
) -> tuple[Tensor, Lattice]:
    """Run the start steps on the features of all encoders; returns the displacement and its lattice."""
    joined, lattice = features.joined, plan.finest
    for step, target in zip(config.start, plan.start, strict=True):
        with clock.stage(f"start: {step.kind}") as details:
            displacement, lattice = resize_displacement(displacement, lattice, target), target
            block = joined.on(
                lattice, step.weights if isinstance(step, HypothesesStart | SearchStart) else ()
            )
            displacement = run_start(
                step,
                block.fixed,
                block.moving,
                displacement,
                scale=plan.length_scale,
                details=details,
                codes=features.codes,
                origin=[start for start, _ in plan.block],
                orientation=plan.orientation,
                keep_match=keep_match,
            )
    return displacement, lattice


def _correct(
    config: Config,
    plan: Plan,
    block: Block,
    displacement: Tensor,
    lattice: Lattice,
    clock: StageClock,
) -> tuple[Tensor, Lattice]:
    """Run the discrete and the Adam stages from a start; returns the displacement and its lattice."""
    for stage, target in zip(config.discrete, plan.discrete, strict=True):
        with clock.stage("discrete") as details:
            displacement, lattice = resize_displacement(displacement, lattice, target), target
            details["radius_cells"] = cells_within(stage.radius_mm * plan.length_scale, lattice)
            if config.features.intensities == "measured" and not stage.weights:
                seen = weigh_intensities(block.on(lattice), displacement, config, details)
            else:
                seen = block.on(lattice, stage.weights)
            displacement = search_convex(
                seen.fixed,
                seen.moving,
                displacement,
                details["radius_cells"],
                consistency_iterations=stage.consistency_iterations,
                masked=config.masked,
            )
    for settings, target in zip(config.adam, plan.adam, strict=True):
        with clock.stage("adam") as details:
            displacement, lattice = resize_displacement(displacement, lattice, target), target
            if config.features.intensities == "measured":
                seen = weigh_intensities(block.on(lattice), displacement, config, details)
            else:
                seen = block.on(lattice, settings.weights)
            displacement = _refine(settings, seen, displacement, config.masked, details)
    return displacement, lattice


def _verdict(
    config: Config, plan: Plan, features: PairFeatures, displacement: Tensor, lattice: Lattice
) -> Verdict:
    """Judge a displacement on the lattice of the last discrete stage, where anatomy outweighs noise."""
    target = plan.discrete[-1] if plan.discrete else lattice
    weights = config.discrete[-1].weights or config.discrete[0].weights if config.discrete else ()
    seen = features.joined.on(target, weights)
    vectors = resize_displacement(displacement, lattice, target)
    return judge(gather_evidence(seen.fixed, seen.moving, vectors))


def _published(config: Config, plan: Plan, block: Block, clock: StageClock) -> Tensor:
    """Run both stages with the numerics of ConvexAdam's public code; returns voxels, (3, *block)."""
    discrete, adam = config.discrete[0], config.adam[0]
    with clock.stage("discrete"):
        lattice = plan.discrete[0]
        displacement = search_published(
            block.fixed.on(lattice),
            block.moving.on(lattice),
            cells_within(discrete.radius_mm, lattice)[0],
            consistency_iterations=discrete.consistency_iterations,
        )
    with clock.stage("adam") as details:
        lattice = plan.adam[0]
        displacement, trace = refine_published(
            block.fixed.on(lattice),
            block.moving.on(lattice),
            displacement,
            regularity_weight=adam.regularity_weight,
            iterations=adam.iterations,
            learning_rate=adam.learning_rate,
        )
        details |= {"iterations": trace.iterations, "losses": trace.losses}
    return displacement


def _refine(settings: Adam, block: Block, start: Tensor, masked: bool, details: dict[str, Any]) -> Tensor:
    fixed, moving = block.fixed, block.moving
    weight = fixed.weight * warp_weight(moving, start) if masked else None
    if settings.similarity == "ssd":
        term = ssd_term(fixed.values, moving.values, weight=weight)
    else:
        similarity = _lcc_of_parts(fixed.values, block.parts, settings.lcc_window)
        term = warp_and_compare(similarity, moving.values, weight=weight)
    displacement, trace = refine_adam(
        SmoothedDense(start, width=settings.smoothing_width, repeats=settings.smoothing_repeats),
        term,
        regularity_weight=settings.regularity_weight,
        spacing_mm=fixed.lattice.spacing_mm,
        iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        stop_below=settings.stop_below,
    )
    details |= {"iterations": trace.iterations, "losses": trace.losses}
    return displacement


def _lcc_of_parts(fixed: Tensor, parts: Sequence[tuple[int, float]], window: int) -> Similarity:
    """Weighted mean of the parts' local correlations, which do not see the scale that a part was given."""
    counts = [count for count, _ in parts]
    terms = [lcc(channels, window=window) for channels in torch.split(fixed, counts)]

    def distance(warped: Tensor, weight: Tensor | None) -> Tensor:
        each = zip(parts, terms, torch.split(warped, counts), strict=True)
        return torch.stack([share * term(channels, weight) for (_, share), term, channels in each]).sum()

    return distance


def _on_image(displacement: Tensor, lattice: Lattice, plan: Plan) -> Tensor:
    """Bring a displacement of the block to the voxels of the whole image, (3, I, J, K)."""
    vectors = resize_displacement(displacement, lattice, plan.voxels)
    padding = [
        amount
        for (start, stop), n in reversed(list(zip(plan.block, plan.image_shape, strict=True)))
        for amount in (start, n - stop)
    ]
    return F.pad(vectors.unsqueeze(0), padding, mode="replicate").squeeze(0) if any(padding) else vectors


def _guard(
    displacement: Tensor, lattice: Lattice, plan: Plan, config: Config, details: dict[str, Any]
) -> Tensor:
    """Check and repair a displacement; returns it on the voxels of the whole image, (3, I, J, K)."""
    if not bool(torch.isfinite(displacement).all()):
        raise NumericalError(Fault("displacement not finite", "guard", remedy="use a smaller learning_rate"))
    limit = config.guard.max_folding_percent / 100
    # On the lattice first, where it costs an eighth or less; what interpolation leaves is repaired after it.
    displacement, coarse = repair_folds(displacement, max_fraction=limit)
    vectors, fine = repair_folds(_on_image(displacement, lattice, plan), max_fraction=limit)
    details |= {
        "folds_before_repair": {"cells": coarse.before, "voxels": fine.before},
        "folds": fine.after,
        "folding_percent": 100 * fine.after / fine.voxels,
        "largest_repair_mm": max(
            coarse.largest_change * max(lattice.spacing_mm), fine.largest_change * max(plan.voxels.spacing_mm)
        ),
    }
    return vectors


def _start_field(displacement: Tensor, lattice: Lattice, plan: Plan) -> NDArray[np.float32]:
    return _as_file(_on_image(displacement, lattice, plan))


def _as_file(vectors: Tensor) -> NDArray[np.float32]:
    """(3, I, J, K) -> (I, J, K, 3) on the CPU, a view: the file wants the components apart as well."""
    array: NDArray[np.float32] = vectors.cpu().movedim(0, -1).numpy()
    return array
