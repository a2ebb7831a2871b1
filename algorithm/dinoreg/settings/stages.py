"""The settings of the stages: starts, discrete search, instance optimisation, free-form deformation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from dinoreg.settings.base import Count, Millimetres, Range, Settings, Share, Slices

# Of the encoders in one stage, in their order; 0 leaves one out. Empty: as in features.encoders.
StageWeights = tuple[Annotated[float, Field(ge=0, le=1000)], ...]


class Linear(Settings):
    """Rigid or affine registration of the images as a whole, by mutual information."""

    model: Literal["rigid", "affine"] = "rigid"
    # "always": before everything else; "evidence": after the starts, and only where the images are clearly
    # closer with a rotation than without one.
    when: Literal["always", "evidence"] = "always"
    range_degrees: Annotated[float, Field(ge=0, le=60)] = 24.0  # of the starts, about each axis, both ways
    # Of the starts, along each axis, both ways, as a share of the size of the smaller foreground.
    range_share: Annotated[float, Field(ge=0, le=1)] = 0.4
    min_overlap: Share = (
        0.35  # share of the samples of either image, of as many as can, to lie inside the other
    )
    # With "evidence", what a rotation needs to be taken: so many degrees, and what a small deformable
    # registration leaves smaller by this share.
    least_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    least_gain: Share = 0.04


class CentresStart(Settings):
    """Bring the centres of mass of the foregrounds together."""

    kind: Literal["centres"]


class SlicesStart(Settings):
    """Bring matching slices together (Song et al. 2024)."""

    kind: Literal["slices"]
    # What describes a slice: the "cls" token of the first encoder that has one; mean and spread of its
    # "features"; "auto": cls where there is one.
    descriptor: Literal["auto", "cls", "features"] = "auto"
    slices: Slices = "array"  # as of the encoder with cls
    axis: Annotated[int, Field(ge=0, le=2)] = 2  # array axis across the slices, where `slices` is "array"
    closest: Count = 10  # pairs of slices that decide
    robust: bool = True  # false: the published rule


class AffineStart(Settings):
    """Translation over the whole field of view, then 12 parameters."""

    kind: Literal["affine"]
    cell_mm: Millimetres = 12.0
    iterations: Count = 100
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 0.05  # cells
    min_overlap: Share = 0.5  # of the smaller foreground


class HypothesesStart(Settings):
    """Several translations through the discrete stage; the best is kept."""

    kind: Literal["hypotheses"]
    range_mm: tuple[Range, Range, Range] = (0.0, 0.0, 96.0)  # per array axis, both ways
    step_mm: Millimetres = 12.0
    cell_mm: Millimetres = 12.0
    radius_mm: tuple[Millimetres, Millimetres, Millimetres] = (36.0, 36.0, 24.0)  # of the discrete stage
    min_overlap: Share = 0.4  # of the smaller foreground, after the discrete stage
    weights: StageWeights = ()


class SearchStart(Settings):
    """Translations in all three directions, judged by what a small deformable registration leaves."""

    kind: Literal["search"]
    # Right-left, anterior-posterior, superior-inferior, both ways; scaled by nothing.
    range_mm: tuple[Range, Range, Range] = (72.0, 72.0, 200.0)
    min_overlap: Share = 0.4  # of the smaller foreground, after the small registration
    least_gain: Share = 0.01  # share of its distance by which a candidate must be better than no translation
    keep: Count = 2  # candidates of the coarse level that the finer one begins from, beside no translation
    weights: StageWeights = ()


Start = Annotated[
    CentresStart | SlicesStart | AffineStart | HypothesesStart | SearchStart, Field(discriminator="kind")
]


class Discrete(Settings):
    """Coupled convex search on a cost volume around the displacement so far."""

    kind: Literal["own"] = "own"
    cell_mm: Millimetres = 12.0
    radius_mm: Millimetres = 48.0
    consistency_iterations: Annotated[int, Field(ge=0, le=1000)] = 15  # 0: no backward search
    weights: StageWeights = ()


class Adam(Settings):
    """Instance optimisation on a lattice."""

    kind: Literal["own"] = "own"
    cell_mm: Millimetres = 4.0
    iterations: Count = 80
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 1.0  # cells
    # "cosine": the rate falls to 0 over the iterations, so that a large one ends in rest.
    decay: Literal["none", "cosine"] = "none"
    regularity_weight: Annotated[float, Field(ge=0)] = 1.25  # of the diffusion term
    # With measured intensities: its value where they are trusted, and where it explains cells that it was not
    # fitted to better than the weight above does. Unset: the same everywhere.
    trusted_regularity_weight: Annotated[float, Field(ge=0)] | None = None
    smoothing_width: Annotated[int, Field(ge=1, le=31)] = 3  # cells, odd
    smoothing_repeats: Annotated[int, Field(ge=0, le=20)] = 3  # box filters in turn
    similarity: Literal["ssd", "lcc"] = "ssd"
    lcc_window: Annotated[int, Field(ge=3, le=31)] = 9  # cells, odd
    stop_below: Share = 0.0  # stop when the loss falls by less than this share in 10 iterations
    weights: StageWeights = ()

    @model_validator(mode="after")
    def _odd_windows(self) -> Adam:
        _check_odd(self, "smoothing_width", "lcc_window")
        return self


class Detail(Settings):
    """A last optimisation at the resolution of the images, by their intensities beside the other features.

    Only where features.intensities is "measured" and found them to agree; on cells of single voxels.
    """

    iterations: Count = 12
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 0.5  # voxels
    regularity_weight: Annotated[float, Field(ge=0)] = 1.0  # of the diffusion term
    smoothing_width: Annotated[int, Field(ge=1, le=31)] = 3  # voxels, odd
    smoothing_repeats: Annotated[int, Field(ge=0, le=20)] = 3  # box filters in turn
    # Trust in the intensities, 0 to 2, from which on the stage is run.
    least_trust: Annotated[float, Field(ge=0, le=2)] = 1.0

    @model_validator(mode="after")
    def _odd_window(self) -> Detail:
        _check_odd(self, "smoothing_width")
        return self


class Renewed(Settings):
    """Further rounds of the last Adam stage, each with moving encoded anew where the ones before brought it.

    Features change where an image is turned or stretched, and their averages over cells blur where they are
    read between them. How much of what a round finds is taken follows from how much less smoothness explains
    cells that it was not fitted to (`optimise.instance.held_out`); where that is nothing there are none.
    """

    rounds: Annotated[int, Field(ge=1, le=10)] = 1
    iterations: Count = 40  # of a round, and of the stage before the first one
    # Weight of the diffusion term of what a round adds, where the stage's own is 1.
    regularity_factor: Annotated[float, Field(ge=0)] = 2.0


class PublishedDiscrete(Settings):
    """The discrete stage with the numerics of ConvexAdam's public code, for comparison only."""

    kind: Literal["published"]
    cell_mm: Millimetres = 12.0
    radius_mm: Millimetres = 48.0
    consistency_iterations: Annotated[int, Field(ge=0, le=1000)] = 15


class PublishedAdam(Settings):
    """The Adam stage with the numerics of ConvexAdam's public code, for comparison only."""

    kind: Literal["published"]
    cell_mm: Millimetres = 4.0
    iterations: Count = 80
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 1.0  # cells
    regularity_weight: Annotated[float, Field(ge=0)] = 1.25  # of the diffusion term


class Ffd(Settings):
    """Cubic B-spline free-form deformation of the intensities, guided by features (Koegl et al. 2024).

    Minimises (1 - alpha) NCC + alpha feature distance + regularity_weight diffusion, from coarse to fine.
    """

    cell_mm: Millimetres = 1.0  # of the finest level
    control_mm: Millimetres = 6.1  # distance of the control points of the finest level
    levels: Annotated[int, Field(ge=1, le=8)] = 3  # each with cells and control points twice as fine
    iterations: Count = 200  # per level
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 0.1  # cells of the level
    regularity_weight: Annotated[float, Field(ge=0)] = 1.0  # of the diffusion term
    alpha: Share = 0.0  # of the feature distance by features.encoders; 0: NCC alone, 1: features alone
    distance: Literal["cosine", "l1"] = "cosine"  # of features
    # "dynamic": the warped image is encoded in every iteration, with gradients through the encoder;
    # "static": the features of the moving image are warped.
    order: Literal["dynamic", "static"] = "dynamic"
    feature_grid: Annotated[int, Field(ge=1, le=512)] = 64  # patches along the longer side of a slice
    stop_below: Share = 0.0  # stop when the loss falls by less than this share in 10 iterations


def _check_odd(settings: Settings, *keys: str) -> None:
    """A window has a cell in its middle."""
    for key in keys:
        if getattr(settings, key) % 2 == 0:
            raise ValueError(f"{key} must be odd, got {getattr(settings, key)}")


def _kind(values: Any) -> str:
    """A stage without a kind is one of ours."""
    kind = values.get("kind", "own") if isinstance(values, dict) else values.kind
    return str(kind)


DiscreteStage = Annotated[
    Annotated[Discrete, Tag("own")] | Annotated[PublishedDiscrete, Tag("published")], Discriminator(_kind)
]
AdamStage = Annotated[
    Annotated[Adam, Tag("own")] | Annotated[PublishedAdam, Tag("published")], Discriminator(_kind)
]
