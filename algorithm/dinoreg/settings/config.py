"""The configuration: every setting of a registration, typed, with its unit and range.

All lengths are millimetres. A preset is a short TOML file with the keys that differ from these defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dinoreg.settings.base import Count, Millimetres, Range, Settings, Share
from dinoreg.settings.encoders import (
    Dino3d,
    Dinov2,
    Dinov3,
    Encoder,
    Intensity,
    Mind,
    Sam,
    TokenSettings,
)

__all__ = [
    "Adam",
    "AffineStart",
    "CentresStart",
    "Config",
    "Count",
    "Dino3d",
    "Dinov2",
    "Dinov3",
    "Discrete",
    "Encoder",
    "FeatureSettings",
    "Ffd",
    "Guard",
    "HypothesesStart",
    "Intensity",
    "Millimetres",
    "Mind",
    "Output",
    "Preprocess",
    "Range",
    "Sam",
    "SearchStart",
    "Settings",
    "Share",
    "SlicesStart",
    "Start",
    "TokenSettings",
]


class Preprocess(Settings):
    """Intensities to [0, 1] and the foreground."""

    # "window": level and width below; "tissues": the scale of the values is found, and
    # where much of the body is lung, lung, soft tissue and bone keep contrast at once.
    ct: Literal["window", "tissues"] = "window"
    ct_level_hu: float = 50.0  # centre of the CT window: abdomen 50, lung -600
    ct_width_hu: Annotated[float, Field(gt=0)] = 400.0  # width of the CT window: abdomen 400, lung 1500
    mr_percentile: Annotated[float, Field(gt=50, le=100)] = 97.0  # MR intensities above it are clipped
    normalise: bool = True  # false: intensities as stored
    # "task": the task's mask files; "threshold": body by threshold; "auto": masks where the task has them,
    # else threshold; "none": everything is foreground.
    # "task-or-all": masks where the task has them, else everything.
    # "body": masks where the task has them, else the body, with lungs that the field of view cuts open.
    foreground: Literal["auto", "task", "task-or-all", "threshold", "body", "none"] = "auto"


class FeatureSettings(Settings):
    """What is compared, and on which finest lattice."""

    encoders: tuple[Encoder, ...] = (Mind(),)
    # With several encoders: "concatenate" their channels, each scaled to its weight, and register once;
    # "average": register by each alone from the common start, and average the displacements by weight.
    ensemble: Literal["concatenate", "average"] = "concatenate"
    cell_mm: Millimetres = 4.0  # finest lattice that features are kept on
    # Where set: take the finest lattice of at most this many cells instead, and scale every other length of
    # the configuration along, so that a hippocampus and an abdomen are treated alike at the same cost.
    max_cells: Annotated[int, Field(ge=1000, le=1_000_000_000)] | None = None
    # "image": the image's own grid; "cubic": axes along right, anterior and superior, cubic voxels, so that
    # it does not matter how a scan is stored.
    grid: Literal["image", "cubic"] = "image"
    max_voxels: Annotated[int, Field(ge=10_000)] = 7_000_000  # of the cubic grid
    # Weight of `intensity` in the Adam stages: "settings", or "measured" where the discrete stages bring the
    # images, with the intensities of moving turned into those of fixed.
    intensities: Literal["settings", "measured"] = "settings"
    # Scale the features so that unrelated places differ by the same amount for every encoder.
    unit_scale: bool = True

    @model_validator(mode="after")
    def _one_encoder(self) -> FeatureSettings:
        if not self.encoders:
            raise ValueError("at least one encoder is needed")
        return self


# Of the encoders in one stage, in their order; 0 leaves one out. Empty: as in features.encoders.
StageWeights = tuple[Annotated[float, Field(ge=0, le=1000)], ...]


class CentresStart(Settings):
    """Bring the centres of mass of the foregrounds together."""

    kind: Literal["centres"]


class SlicesStart(Settings):
    """Bring matching slices together (Song et al. 2024)."""

    kind: Literal["slices"]
    # What describes a slice: the "cls" token of the first encoder that has one; mean and spread of its
    # "features"; "auto": cls where there is one.
    descriptor: Literal["auto", "cls", "features"] = "auto"
    axis: Annotated[int, Field(ge=0, le=2)] = 2  # array axis across the slices; that of the encoder with cls
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
    least_gain: Share = 0.005  # share of its distance by which a candidate must be better than no translation
    keep: Count = 2  # candidates of the coarse level that the finer one begins from, beside no translation
    weights: StageWeights = ()


Start = Annotated[
    CentresStart | SlicesStart | AffineStart | HypothesesStart | SearchStart, Field(discriminator="kind")
]


class Discrete(Settings):
    """Coupled convex search on a cost volume around the displacement so far."""

    cell_mm: Millimetres = 12.0
    radius_mm: Millimetres = 48.0
    consistency_iterations: Annotated[int, Field(ge=0, le=1000)] = 15  # 0: no backward search
    weights: StageWeights = ()


class Adam(Settings):
    """Instance optimisation on a lattice."""

    cell_mm: Millimetres = 4.0
    iterations: Count = 80
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 1.0  # cells
    regularity_weight: Annotated[float, Field(ge=0)] = 1.25  # of the diffusion term
    smoothing_width: Annotated[int, Field(ge=1, le=31)] = 3  # cells, odd
    smoothing_repeats: Annotated[int, Field(ge=0, le=20)] = 3  # box filters in turn
    similarity: Literal["ssd", "lcc"] = "ssd"
    lcc_window: Annotated[int, Field(ge=3, le=31)] = 9  # cells, odd
    stop_below: Share = 0.0  # stop when the loss falls by less than this share in 10 iterations
    weights: StageWeights = ()

    @model_validator(mode="after")
    def _odd_windows(self) -> Adam:
        for key in ("smoothing_width", "lcc_window"):
            if getattr(self, key) % 2 == 0:
                raise ValueError(f"{key} must be odd, got {getattr(self, key)}")
        return self


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


class Guard(Settings):
    """What a displacement must keep to."""

    max_folding_percent: Annotated[float, Field(ge=0, le=100)] = 0.0  # above it, folds are repaired


class Output(Settings):
    """How the displacement is written."""

    # "long": disp_FFFF_GGGG_MMMM_NNNN; "2024": the one name that the 2024 evaluator accepts; "both".
    naming: Literal["long", "2024", "both"] = "long"
    basis: bool = False  # also write the PCA basis of each pair, to OUTPUT/basis


class Config(Settings):
    """A whole registration."""

    name: str = "custom"
    description: str = ""
    # "published" follows the numerics of ConvexAdam's public code instead of ours, for comparison only.
    numerics: Literal["correct", "published"] = "correct"
    voxel_lengths: bool = False  # take every voxel as 1 mm wide: lengths count voxels, as ConvexAdam's do
    masked: bool = True  # cells without foreground do not count
    preprocess: Preprocess = Preprocess()
    features: FeatureSettings = FeatureSettings()
    start: tuple[Start, ...] = ()
    discrete: tuple[Discrete, ...] = ()
    adam: tuple[Adam, ...] = ()
    ffd: tuple[Ffd, ...] = ()
    guard: Guard = Guard()
    output: Output = Output()

    @model_validator(mode="after")
    def _published_shape(self) -> Config:
        stages = (len(self.start), len(self.discrete), len(self.adam), len(self.ffd))
        if self.numerics == "published" and stages != (0, 1, 1, 0):
            raise ValueError("published numerics take one discrete and one adam stage, no start and no ffd")
        return self

    @model_validator(mode="after")
    def _ensemble_of_several(self) -> Config:
        if self.features.ensemble == "average" and self.numerics == "published":
            raise ValueError("published numerics take no average of several encoders")
        return self

    @model_validator(mode="after")
    def _weights_of_all_encoders(self) -> Config:
        count = len(self.features.encoders)
        corrections = [stage.weights for stage in self.discrete] + [stage.weights for stage in self.adam]
        starts = [step.weights for step in self.start if isinstance(step, HypothesesStart | SearchStart)]
        for weights in (*starts, *corrections):
            if weights and (len(weights) != count or not any(weights)):
                raise ValueError(f"weights of a stage: expected {count}, not all 0, got {list(weights)}")
        apart = self.features.ensemble == "average" or self.numerics == "published"
        if apart and any(corrections):
            raise ValueError("weights of a discrete or adam stage take concatenated features, own numerics")
        return self

    @model_validator(mode="after")
    def _measured_intensities(self) -> Config:
        if self.features.intensities != "measured":
            return self
        apart = self.features.ensemble == "average" or self.numerics == "published"
        if apart or sum(isinstance(encoder, Intensity) for encoder in self.features.encoders) != 1:
            raise ValueError("measured intensities take one encoder intensity, concatenated, own numerics")
        if any(stage.weights for stage in self.adam):
            raise ValueError("weights of an adam stage: expected none, they follow from measured intensities")
        return self

    @model_validator(mode="after")
    def _slices_by_cls(self) -> Config:
        axes = {encoder.axis for encoder in self.features.encoders if isinstance(encoder, TokenSettings)}
        for step in self.start:
            if isinstance(step, SlicesStart) and step.descriptor == "cls" and step.axis not in axes:
                raise ValueError(
                    f"matching slices by cls takes an encoder with cls tokens and axis {step.axis}"
                )
        return self
