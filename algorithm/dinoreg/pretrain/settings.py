"""The configuration of a pretraining: every setting, typed, with its unit and range."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dinoreg.errors import ConfigError
from dinoreg.pretrain.presets import PRESETS
from dinoreg.settings.config import Count, Millimetres, Settings, Share
from dinoreg.settings.load import parse_settings, read_toml
from regtask.documents import read_json_object
from regtask.errors import DataError, Fault


def _smallest_first(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("must be (smallest, largest)")
    return pair


Positive = Annotated[float, Field(gt=0, le=1e6)]
PerAxis = tuple[Share, Share, Share]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Number = Annotated[int, Field(ge=0, le=100_000)]
Sizes = Annotated[tuple[Millimetres, Millimetres], AfterValidator(_smallest_first)]
Shares = Annotated[tuple[Share, Share], AfterValidator(_smallest_first)]


class AnatomySettings(Settings):
    """What is shown: synthetic anatomies, or scans of one's own."""

    torsos: Number = 64  # patients of the phantom
    torso_spacing_mm: Annotated[float, Field(ge=1, le=10)] = 2.5
    random_bodies: Number = 128  # bodies that resemble none
    random_size: Annotated[int, Field(ge=32, le=320)] = 128  # voxels along every axis
    torso_share: Share = 0.65  # of the synthetic views
    scans: str = ""  # folder of NIfTI volumes of one's own
    scan_share: Share = 0.5  # of all views, where there are scans

    @model_validator(mode="after")
    def _something(self) -> AnatomySettings:
        if not (self.torsos or self.random_bodies or self.scans):
            raise ValueError("nothing to train on: torsos, random_bodies and scans are all empty")
        return self


class ViewSettings(Settings):
    """Two views of one anatomy; lengths in voxels of the view unless they are millimetres."""

    size: Annotated[int, Field(ge=16, le=512)] = 64  # along every axis
    voxel_mm: Sizes = (3.0, 6.5)  # of oriented anatomies
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 14.0  # largest, about each axis
    scale: Annotated[float, Field(ge=1, le=3)] = 1.2  # largest stretch of the whole; its inverse is the least
    stretch: Annotated[float, Field(ge=1, le=2)] = 1.1  # largest stretch of single axes
    # Largest shift along R, A and S, share of the size. Scanners show the body whole across, and any part of
    # it along: where that is large, the place in the view does not tell the place in the body.
    shift: PerAxis = (0.15, 0.15, 0.6)
    elastic: tuple[NonNegative, ...] = (3.0, 1.2)  # standard deviation of each band
    wavelength: tuple[Positive, ...] = (24.0, 12.0)  # distance of the control points of each band
    # How often an oriented anatomy is mirrored along each axis: files may not say how the patient lies.
    mirrored: Share = 0.03
    hidden_borders: PerAxis = (0.1, 0.1, 0.6)  # how often a side of a view is cut off along R, A and S
    hidden_share: Shares = (0.05, 0.5)  # of the axis, that is cut off
    # How often the second view of a torso shows another patient, after this share of the steps.
    other_patient: Share = 0.5
    other_patient_from: Share = 0.5
    points: Count = 1024  # pairs of positions that are compared, per pair of views
    clustered: Annotated[int, Field(ge=1, le=64)] = 2  # points that lie together, to be told from one another
    cluster_radius: Positive = 8.0
    balanced: Share = 0.5  # of the points, drawn so that small structures get as many as large ones

    @model_validator(mode="after")
    def _bands(self) -> ViewSettings:
        if len(self.elastic) != len(self.wavelength):
            raise ValueError("elastic and wavelength must name as many bands")
        if self.points < self.clustered:
            raise ValueError("points must be at least as many as those of a cluster, clustered")
        return self


class NetworkSettings(Settings):
    """The size of the network."""

    widths: tuple[Annotated[int, Field(ge=4, le=2048)], ...] = (32, 64, 128, 192)  # per level, finest first
    depths: tuple[Annotated[int, Field(ge=1, le=16)], ...] = (1, 1, 1, 2)  # blocks per level
    channels: Annotated[int, Field(ge=4, le=1024)] = 32  # of the features
    # .safetensors of a trained network of this size to begin with; empty: random weights from the seed.
    start_from: str = ""

    @model_validator(mode="after")
    def _levels(self) -> NetworkSettings:
        if not self.widths or len(self.widths) != len(self.depths):
            raise ValueError("widths and depths must name as many levels")
        return self


class VitSettings(Settings):
    """A vision transformer in the place of the U-Net; the defaults are those of Kats & Heinrich 2026."""

    patch: Annotated[int, Field(ge=2, le=32)] = 4  # voxels per token along every axis
    width: Annotated[int, Field(ge=6, le=4096)] = 180  # channels of a token
    depth: Annotated[int, Field(ge=1, le=64)] = 8  # blocks
    heads: Annotated[int, Field(ge=1, le=64)] = 6  # of the attention

    @model_validator(mode="after")
    def _divisible(self) -> VitSettings:
        if self.width % self.heads or self.width // self.heads % 6:
            raise ValueError("width / heads must be a multiple of 6: three axes share the channels of a head")
        return self


class ContrastiveSettings(Settings):
    """The same place against other places of the same anatomy (van den Oord et al. 2018, InfoNCE)."""

    weight: NonNegative = 1.0  # 0: not used
    temperature: Positive = 0.1
    ignored_voxels: NonNegative = 3.0  # places nearer than this to one another are neither same nor other
    # Of the coarser levels of the network, whose features learn to tell places by heads of their own (Lee et
    # al. 2015, deep supervision); they see neighbours as one within three quarters of a cell.
    coarse_weight: NonNegative = 0.5


class DinoSettings(Settings):
    """Self-distillation over prototypes (Caron et al. 2021; Zhou et al. 2022; Oquab et al. 2024)."""

    weight: NonNegative = 0.0  # of the whole objective; 0: not used
    prototypes: Annotated[int, Field(ge=8, le=131_072)] = 1024
    hidden: Count = 256  # width of the head
    global_weight: NonNegative = 1.0  # whole views
    dense_weight: NonNegative = 1.0  # places in register
    masked_weight: NonNegative = 1.0  # places that the student does not see
    koleo_weight: NonNegative = 0.1  # spreads the views of a batch (Sablayrolles et al. 2019)
    student_temperature: Positive = 0.1
    teacher_temperature: tuple[Positive, Positive] = (0.04, 0.07)  # first and last of the warm-up
    teacher_warmup: Share = 0.3  # of the steps
    momentum: tuple[Share, Share] = (0.992, 0.998)  # of the teacher, first and last
    centring: Literal["sinkhorn", "mean"] = "sinkhorn"
    mask_share: Shares = (0.1, 0.5)  # of the blocks of a student's view
    mask_block: Annotated[int, Field(ge=2, le=128)] = 8  # voxels


class Training(Settings):
    """The schedule."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 6000
    batch: Count = 2  # pairs of views per step
    learning_rate: Positive = 1e-3
    warmup_steps: Number = 200
    weight_decay: NonNegative = 0.04
    weight_decay_last: NonNegative | None = None  # reached along half a cosine; by default as at first
    layer_decay: Positive = 1.0  # learning rate of a block over that of the next one; of a transformer only
    max_gradient: Positive = 1.0
    seed: Number = 0
    # "auto" is float32 on a CPU (bfloat16 is faster where the processor has it) and bfloat16 on a GPU.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: Number = 0  # processes that draw views beside the training; worth it with a GPU
    checkpoint_minutes: Positive = 3.0
    picture_steps: Count = 500  # features of a fixed synthetic (and a fixed real) volume
    # Momentum of the averaged weights that are kept as the result; with dino that of the teacher counts.
    average: Share = 0.999


class PretrainConfig(Settings):
    """A whole pretraining."""

    description: str = ""
    anatomy: AnatomySettings = AnatomySettings()
    views: ViewSettings = ViewSettings()
    network: NetworkSettings = NetworkSettings()
    vit: VitSettings | None = None  # in the place of the U-Net
    contrastive: ContrastiveSettings = ContrastiveSettings()
    dino: DinoSettings = DinoSettings()
    training: Training = Training()

    @model_validator(mode="after")
    def _usable(self) -> PretrainConfig:
        if not (self.contrastive.weight or self.dino.weight):
            raise ValueError("no objective: the weights of contrastive and dino are both 0")
        multiple = 2 ** len(self.network.widths) if self.vit is None else self.vit.patch
        if self.views.size % multiple:
            raise ValueError(f"views.size must be a multiple of {multiple}, the network's coarsest cells")
        if self.vit is None and self.training.layer_decay != 1:
            raise ValueError("training.layer_decay is for a transformer, vit")
        if self.vit is not None:
            if self.network.model_copy(update={"start_from": ""}) != NetworkSettings():
                raise ValueError("widths, depths and channels of network are for the U-Net, not for vit")
            if self.contrastive.weight and self.contrastive.coarse_weight:
                raise ValueError("contrastive.coarse_weight must be 0 with vit, which has no coarser levels")
        return self

    def on(self, device: str) -> PretrainConfig:
        """Return the configuration with the precision that it means on a kind of device, "cpu" or "cuda"."""
        if self.training.precision != "auto":
            return self
        precision = "bfloat16" if device == "cuda" else "float32"
        return self.model_copy(update={"training": self.training.model_copy(update={"precision": precision})})

    def trains_as(self, other: PretrainConfig) -> bool:
        """Tell whether both lead to the same weights; how often is saved or pictured does not matter."""
        return self._essence() == other._essence()

    def _essence(self) -> dict[str, object]:
        training = self.training.model_dump(exclude={"workers", "checkpoint_minutes", "picture_steps"})
        return self.model_dump(exclude={"training", "description"}) | {"training": training}


def load_pretrain_config(
    path: Path | None = None, overrides: Sequence[str] = (), *, preset: str = "unet"
) -> PretrainConfig:
    """Return the settings of a TOML file, or else of a preset, with `key=value` overrides.

    Args:
        path: TOML, or JSON as a training keeps its own.
        overrides: as for `parse_settings`.
        preset: one of `PRESETS`; not looked at where there is a file.

    Raises:
        ConfigError: no such preset, not such a file, or faults in it (all of them listed).
    """
    values: dict[str, Any]
    if path is None:
        if preset not in PRESETS:
            raise ConfigError(Fault("unknown preset", preset, expected=f"one of {', '.join(PRESETS)}"))
        values = copy.deepcopy(dict(PRESETS[preset]))
    elif path.suffix == ".json":
        try:
            values = read_json_object(path, "a configuration")
        except DataError as error:
            raise ConfigError(*error.faults) from error
    else:
        values = read_toml(path)
    return parse_settings(
        PretrainConfig,
        values,
        where=str(path or f"preset {preset}"),
        overrides=overrides,
        all_keys="the config.json in the folder of any training holds all keys",
    )
