"""The presets that the encoder is compared by, with the weights at hand."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dinoreg.encoders.pool import EncoderPool
from dinoreg.errors import WeightsError
from dinoreg.settings.config import Config, Dino3d
from dinoreg.settings.load import config_hash, load_preset


@dataclass(frozen=True, slots=True)
class Chosen:
    """A preset that can be run.

    Attributes:
        name: of the preset.
        overrides: of it, as `--set` of the command.
        config: with the overrides.
        weights: sha256 of those of its encoders, in order; none where no encoder has any.
        digest: of the configuration and the weights, whatever their path.
    """

    name: str
    overrides: tuple[str, ...]
    config: Config
    weights: tuple[str, ...]
    digest: str


def add_common_arguments(parser: argparse.ArgumentParser, presets: Sequence[str]) -> None:
    """Add what every comparison takes."""
    parser.add_argument("--presets", nargs="+", default=list(presets))
    parser.add_argument("--weights", type=Path, help="of dino3d; by default the shipped ones")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")


def find_presets(names: Sequence[str], weights: Path | None, device: torch.device) -> Iterator[Chosen]:
    """Yield the presets whose weights are found; say which are not."""
    for name in names:
        try:
            yield choose(name, weights, device)
        except WeightsError as error:
            print(f"{name}: not measured, {error.faults[0].what}")


def choose(name: str, weights: Path | None, device: torch.device) -> Chosen:
    """Return a preset, with other weights of its `dino3d` where they are given.

    Raises:
        ConfigError: the preset does not exist.
        WeightsError: weights absent or not the right ones.
    """
    overrides = () if weights is None else tuple(_overrides(name, weights))
    config = load_preset(name, overrides)
    sources = EncoderPool(device).sources(config.features.encoders)
    digests = {n: source.digests for n, source in enumerate(sources)}
    used = tuple(files["weights"] for files in digests.values() if "weights" in files)
    return Chosen(name, overrides, config, used, config_hash(config, digests))


def _overrides(name: str, weights: Path) -> Iterator[str]:
    for number, encoder in enumerate(load_preset(name).features.encoders):
        if isinstance(encoder, Dino3d):
            yield f"features.encoders.{number}.weights={weights.resolve()}"
