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
from dinoreg.settings.idle import (
    changed,
    idle_of_detail,
    idle_of_encoders,
    idle_of_linear,
    idle_of_stages,
)
from dinoreg.settings.stages import (
    Adam,
    AdamStage,
    AffineStart,
    CentresStart,
    Detail,
    Discrete,
    DiscreteStage,
    Ffd,
    HypothesesStart,
    Linear,
    PublishedAdam,
    PublishedDiscrete,
    Renewed,
    SearchStart,
    SlicesStart,
    Start,
)

__all__ = [
    "Adam",
    "AffineStart",
    "CentresStart",
    "Config",
    "Count",
    "Detail",
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
    "Linear",
    "Millimetres",
    "Mind",
    "Output",
    "Preprocess",
    "PublishedAdam",
    "PublishedDiscrete",
    "Range",
    "Renewed",
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
    # What encoders see outside the foreground: 0, or the image as it is; its percentile is then of the whole.
    background: Literal["zero", "kept"] = "zero"
    # What encoders see where a file has no values, and beside a scan that was read on another grid: "blank",
    # an edge like that of a body, or "continued" with the nearest measured value. It never counts.
    beyond_view: Literal["blank", "continued"] = "blank"
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
    voxel_lengths: bool = False  # take every voxel as 1 mm wide: lengths count voxels, as ConvexAdam's do
    masked: bool = True  # cells without foreground do not count
    # Which image a displacement is sought from: "fixed", or by "evidence": from moving, and inverted, where
    # that shows a part of what fixed shows, so that it is not stretched over the rest. Where what is found is
    # not good, it is sought from the other one as well, and that is taken if it looks clearly better.
    sought_from: Literal["fixed", "evidence"] = "fixed"
    preprocess: Preprocess = Preprocess()
    features: FeatureSettings = FeatureSettings()
    linear: Linear | None = None
    start: tuple[Start, ...] = ()
    discrete: tuple[DiscreteStage, ...] = ()
    adam: tuple[AdamStage, ...] = ()
    renewed: Renewed | None = None
    detail: Detail | None = None
    ffd: tuple[Ffd, ...] = ()
    guard: Guard = Guard()
    output: Output = Output()

    @property
    def published(self) -> bool:
        """Whether a stage follows the numerics of ConvexAdam's public code."""
        return any(stage.kind == "published" for stage in (*self.discrete, *self.adam))

    @model_validator(mode="after")
    def _published_stages(self) -> Config:
        if not self.published:
            return self
        kinds = [[stage.kind for stage in stages] for stages in (self.discrete, self.adam)]
        if kinds != [["published"], ["published"]] or self.start or self.ffd:
            raise ValueError("published stages: one discrete and one adam stage, no start and no ffd")
        if self.features.ensemble == "average" or self.features.intensities == "measured":
            raise ValueError("published stages take concatenated features with weights as they are set")
        if self.sought_from == "evidence":
            raise ValueError("published stages: sought_from = fixed")
        return self

    @model_validator(mode="after")
    def _slices_from_fixed(self) -> Config:
        if self.sought_from == "evidence" and any(isinstance(step, SlicesStart) for step in self.start):
            raise ValueError("a start by slices: sought_from = fixed, whose slices its pictures show first")
        return self

    @model_validator(mode="after")
    def _weights_of_all_encoders(self) -> Config:
        count = len(self.features.encoders)
        own = [stage for stage in (*self.discrete, *self.adam) if stage.kind == "own"]
        corrections = [stage.weights for stage in own]
        starts = [step.weights for step in self.start if isinstance(step, HypothesesStart | SearchStart)]
        for weights in (*starts, *corrections):
            if weights and (len(weights) != count or not any(weights)):
                raise ValueError(f"weights of a stage: expected {count}, not all 0, got {list(weights)}")
        if self.features.ensemble == "average" and any(corrections):
            raise ValueError("weights of a discrete or adam stage take concatenated features")
        return self

    @model_validator(mode="after")
    def _nothing_idle(self) -> Config:
        compared = bool(self.start or self.discrete or self.adam) or not self.ffd
        idle = [
            *idle_of_stages(self.start, self.adam, self.ffd),
            *idle_of_linear(self.linear),
            *idle_of_detail(self.detail),
            *idle_of_encoders(self.features.encoders, compared=compared),
        ]
        if not self.preprocess.normalise:
            keys = ("ct_level_hu", "ct_width_hu", "mr_percentile")
            idle += changed(self.preprocess, "preprocess", keys)
        if self.features.grid == "image":
            idle += changed(self.features, "features", ("max_voxels",))
        of_patient = any(
            isinstance(one, TokenSettings) and one.slices != "array" for one in self.features.encoders
        )
        if of_patient and any(stage.alpha > 0 for stage in self.ffd):
            raise ValueError("a free-form stage cuts across array axes: slices of its guides must be array")
        deforms = self.start or self.discrete or self.adam or self.ffd
        if self.linear is not None and self.linear.when == "evidence" and not deforms:
            raise ValueError("linear by evidence takes a stage that deforms")
        if idle:
            raise ValueError(f"would have no effect beside the other settings: {', '.join(idle)}")
        return self

    @model_validator(mode="after")
    def _renewed(self) -> Config:
        if self.renewed is None:
            return self
        if not self.adam or self.adam[-1].kind != "own":
            raise ValueError("renewed takes an adam stage of kind own before it")
        if self.features.ensemble == "average" and len(self.features.encoders) > 1:
            raise ValueError("renewed takes encoders that are concatenated")
        return self

    @model_validator(mode="after")
    def _measured_intensities(self) -> Config:
        own = [stage for stage in self.adam if stage.kind == "own"]
        if self.features.intensities != "measured":
            if any(stage.trusted_regularity_weight is not None for stage in own):
                raise ValueError("trusted_regularity_weight takes features.intensities measured")
            if self.detail is not None:
                raise ValueError("detail takes features.intensities measured")
            return self
        count = sum(isinstance(encoder, Intensity) for encoder in self.features.encoders)
        if self.features.ensemble == "average" or count != 1 or len(self.features.encoders) < 2:
            raise ValueError("measured intensities take one encoder intensity, concatenated with others")
        if any(stage.weights for stage in own):
            raise ValueError("weights of an adam stage: expected none, they follow from measured intensities")
        return self

    @model_validator(mode="after")
    def _slices_by_cls(self) -> Config:
        cut = {(one.slices, one.axis) for one in self.features.encoders if isinstance(one, TokenSettings)}
        for step in self.start:
            if (
                isinstance(step, SlicesStart)
                and step.descriptor == "cls"
                and (step.slices, step.axis) not in cut
            ):
                of = f"axis {step.axis}" if step.slices == "array" else f"slices {step.slices}"
                raise ValueError(f"matching slices by cls takes an encoder with cls tokens and {of}")
        return self
