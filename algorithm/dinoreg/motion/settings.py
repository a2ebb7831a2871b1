"""Settings of a landmark tracker: typed, with units and ranges, from a preset or a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dinoreg.errors import ConfigError
from dinoreg.settings.config import Count, Dinov2, Dinov3, Mind, Range, Settings, Share
from dinoreg.settings.load import parse_settings, read_toml
from regtask.errors import Fault

Channels = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]  # normalised in eight groups


class Small(Settings):
    """A convolutional backbone trained from scratch, for where no weights are at hand."""

    name: Literal["small"] = "small"
    width: Channels = 48  # channels of a token
    patch_size: Literal[2, 4, 8] = 4  # pixels per token side
    dilations: tuple[Annotated[int, Field(ge=1, le=32)], ...] = (1, 2, 4, 8, 1)  # one residual block each


MotionEncoder = Annotated[Small | Mind | Dinov2 | Dinov3, Field(discriminator="name")]


class Lora(Settings):
    """Low-rank adapters in the attention of a frozen transformer (Hu et al. 2022), by `peft`."""

    rank: Annotated[int, Field(ge=0, le=256)] = 4  # 0: the encoder stays as it is
    alpha: Annotated[int, Field(ge=1, le=1000)] = 8  # the update is scaled by alpha / rank
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # Linear layers of every block that get an adapter, by their name in `transformers`.
    layers: tuple[str, ...] = ("q_proj", "v_proj")


class Window(Settings):
    """The square of the image that is tracked."""

    # "target": around the target of the template frame, whose outline a tracker is given; "image": around
    # the middle of the image.
    centre: Literal["target", "image"] = "target"
    side_mm: Range = 128.0  # 0: the longer side of the image
    pixels: Annotated[int, Field(ge=16, le=1024)] = 112  # per side


class Landmarks(Settings):
    """From tokens to landmarks to a transform."""

    count: Annotated[int, Field(ge=3, le=1024)] = 64
    decoder: tuple[Channels, ...] = (64,)  # channels of the convolutional blocks
    upsamplings: Annotated[int, Field(ge=0, le=4)] = 0  # blocks that are followed by a doubling
    # Where each landmark looks first: a Gaussian of this width (share of the window's side) around its node
    # of a regular grid, as a trainable map that is added to the heat map. 0: no such map.
    prior_width: Share = 0.08
    transform: Literal["rigid", "affine", "tps"] = "tps"
    smoothing: Annotated[float, Field(ge=0, le=1e6)] = 0.01  # lambda of the spline; the window is [-1, 1]


class Search(Settings):
    """A rigid alignment of each frame with the template by correlation, before the network looks.

    Not in the paper. It takes no part in the training.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0  # largest; 0: no search
    step_degrees: Annotated[float, Field(gt=0, le=45)] = 6.0  # of the first look; the second is finer
    translation: Annotated[float, Field(ge=0, le=0.5)] = 0.35  # largest, share of the window's side
    pixels: Annotated[int, Field(ge=16, le=256)] = 32  # per side of the window
    # The search is heeded where the correlation rises by at least so much; less is left to the network.
    gain: Share = 0.05


class Augment(Settings):
    """Random affine maps and intensities."""

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 180.0  # of all frames of a batch alike
    translation: Share = 0.08  # share of the window's side, alike
    scaling: Annotated[float, Field(ge=0, lt=1)] = 0.15  # alike
    flips: bool = True
    gamma: Annotated[float, Field(ge=0, le=2)] = 0.3  # largest log of the exponent, alike
    # Share of the batches in which each frame gets a map of its own besides: what is to be recovered.
    misaligned_share: Share = 0.1
    misaligned_rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 40.0
    misaligned_translation: Share = 0.25
    misaligned_scaling: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Training(Settings):
    """The optimisation."""

    steps: Count = 800
    frames: Annotated[int, Field(ge=2, le=1024)] = 8  # of one sequence per step
    # Every n-th pixel per axis counts in a step, beginning at a random one: the same loss on average, at less
    # cost, since the spline is evaluated at every pixel that counts.
    loss_stride: Annotated[int, Field(ge=1, le=8)] = 2
    # Of the landmarks' scatter about each other in the batches whose frames were brought apart by known maps;
    # not in the paper. The target's own motion counts as scatter too: for large motion only.
    equivariance_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3  # falls to 0 along half a cosine
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    max_gradient: Annotated[float, Field(gt=0)] = 1.0  # norm
    checkpoint_every: Count = 100  # steps
    seed: Annotated[int, Field(ge=0)] = 0


class MotionConfig(Settings):
    """A whole tracker."""

    name: str = "custom"
    encoder: MotionEncoder = Small()
    lora: Lora = Lora()
    window: Window = Window()
    landmarks: Landmarks = Landmarks()
    search: Search = Search()
    augment: Augment = Augment()
    training: Training = Training()

    @model_validator(mode="after")
    def _whole_patches(self) -> MotionConfig:
        patch = getattr(self.encoder, "patch_size", 14 if self.encoder.name == "dinov2" else 1)
        if self.window.pixels % patch:
            raise ValueError(f"window.pixels must be a multiple of the patch size {patch}")
        if self.landmarks.upsamplings > len(self.landmarks.decoder):
            raise ValueError("landmarks.upsamplings: at most one per block of the decoder")
        return self


# "dinomotion": what the paper states, and our choices where it is silent (docs/motion.md).
PRESETS: Mapping[str, MotionConfig] = MappingProxyType(
    {
        "small": MotionConfig(name="small"),
        "dinomotion": MotionConfig(
            name="dinomotion",
            encoder=Dinov2(variant="vitb14", normalisation="imagenet"),
            window=Window(centre="image", side_mm=0.0, pixels=224),
            landmarks=Landmarks(decoder=(512, 256, 64), upsamplings=2, prior_width=0.0, smoothing=0.01),
            augment=Augment(rotation_degrees=20.0, flips=False, misaligned_share=0.5),
            training=Training(steps=20_000, learning_rate=1e-4),
        ),
    }
)


def load_motion_config(
    preset: str = "small", path: Path | None = None, overrides: Sequence[str] = ()
) -> MotionConfig:
    """Return the settings of a preset or of a TOML file, with `key=value` overrides.

    Raises:
        ConfigError: no such preset, not a TOML file, or faults in it (all of them listed).
    """
    if path is not None:
        return parse_settings(
            MotionConfig, {"name": path.stem} | read_toml(path), where=str(path), overrides=overrides
        )
    if preset not in PRESETS:
        raise ConfigError(Fault("unknown preset", preset, expected=f"one of {', '.join(PRESETS)}"))
    values = PRESETS[preset].model_dump(mode="json")
    return parse_settings(MotionConfig, values, where=f"preset {preset}", overrides=overrides)


def with_landmarks(
    config: MotionConfig,
    *,
    transform: str | None = None,
    smoothing: float | None = None,
    search_degrees: float | None = None,
) -> MotionConfig:
    """Return a configuration with another transform, lambda or rigid search; None keeps what there is.

    Raises:
        ConfigError: a value is not allowed.
    """
    changes = {
        "landmarks.transform": transform,
        "landmarks.smoothing": smoothing,
        "search.rotation_degrees": search_degrees,
    }
    overrides = [f"{key}={value}" for key, value in changes.items() if value is not None]
    return parse_settings(
        MotionConfig, config.model_dump(mode="json"), where="landmarks", overrides=overrides
    )
