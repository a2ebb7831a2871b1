"""Settings that nothing looks at where they stand: refused, since who sets them expects an effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dinoreg.settings.base import Settings
from dinoreg.settings.encoders import Encoder, TokenSettings
from dinoreg.settings.stages import Adam, AdamStage, Detail, Ffd, Linear, SlicesStart, Start

# Of a token encoder: what a free-form stage, which encodes whole images as they are, has no use for.
_OF_VOLUMES = (
    "up_sampling",
    "token_pitch_mm",
    "whole_slices",
    "slice_step",
    "components",
    "projection",
    "pca_mask",
    "foreground_share",
    "basis",
    "batch",
    "precision",
    "storage",
)


def changed(settings: Settings, where: str, keys: Sequence[str]) -> Iterator[str]:
    """Yield those keys, after `where`, whose values are not the defaults."""
    fields = type(settings).model_fields
    for key in keys:
        if getattr(settings, key) != fields[key].default:
            yield f"{where}.{key}"


def idle_of_stages(start: Sequence[Start], adam: Sequence[AdamStage], ffd: Sequence[Ffd]) -> Iterator[str]:
    """Yield settings of stages that other settings of the same stage leave without effect."""
    for n, step in enumerate(start):
        if isinstance(step, SlicesStart) and step.slices != "array":
            yield from changed(step, f"start.{n}", ("axis",))
        if isinstance(step, SlicesStart) and step.robust:
            yield from changed(step, f"start.{n}", ("closest",))
    for n, stage in enumerate(adam):
        if isinstance(stage, Adam) and stage.similarity == "ssd":
            yield from changed(stage, f"adam.{n}", ("lcc_window",))
        if isinstance(stage, Adam) and stage.smoothing_repeats == 0:
            yield from changed(stage, f"adam.{n}", ("smoothing_width",))
    for n, free in enumerate(ffd):
        if free.alpha == 0:
            yield from changed(free, f"ffd.{n}", ("distance", "order", "feature_grid"))


def idle_of_detail(detail: Detail | None) -> Iterator[str]:
    """Yield settings of the last optimisation that do not count without smoothing."""
    if detail is not None and detail.smoothing_repeats == 0:
        yield from changed(detail, "detail", ("smoothing_width",))


def idle_of_linear(linear: Linear | None) -> Iterator[str]:
    """Yield settings of a linear registration that do not count when it is run."""
    if linear is not None:
        keys = ("model", "range_share") if linear.when == "evidence" else ("least_degrees", "least_gain")
        yield from changed(linear, "linear", keys)


def idle_of_encoders(encoders: Sequence[Encoder], *, compared: bool) -> Iterator[str]:
    """Yield settings of encoders without effect.

    Args:
        encoders: all.
        compared: whether features are compared on a lattice.
    """
    for n, encoder in enumerate(encoders):
        if isinstance(encoder, TokenSettings) and encoder.slices != "array":
            yield from changed(encoder, f"features.encoders.{n}", ("axis",))
        if isinstance(encoder, TokenSettings) and not encoder.pca_mask:
            yield from changed(encoder, f"features.encoders.{n}", ("foreground_share",))
        if isinstance(encoder, TokenSettings) and not compared:
            yield from changed(encoder, f"features.encoders.{n}", _OF_VOLUMES)
