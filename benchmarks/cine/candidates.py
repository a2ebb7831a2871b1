"""What is trained, by name, and training it where that was not done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dinoreg.encoders.registry import load_encoder
from dinoreg.errors import WeightsError
from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.network.checkpoint import WEIGHTS
from dinoreg.motion.settings import MotionConfig, Small, load_motion_config
from dinoreg.motion.train import TrainOptions, train
from dinoreg.settings.config import Mind


@dataclass(frozen=True, slots=True)
class Candidate:
    """A preset of `dinoreg motion train`, and what differs from it."""

    preset: str = "small"
    settings: tuple[str, ...] = ()

    def config(self, common: Sequence[str] = ()) -> MotionConfig:
        """Return its configuration, with settings that all candidates share."""
        return load_motion_config(self.preset, overrides=[*self.settings, *common])


CANDIDATES: Mapping[str, Candidate] = {
    "64 landmarks": Candidate(),
    "32 landmarks": Candidate(settings=("landmarks.count=32",)),
    "128 landmarks": Candidate(settings=("landmarks.count=128",)),
    "dinomotion": Candidate("dinomotion"),
    "dinomotion without LoRA": Candidate("dinomotion", ("lora.rank=0",)),
}


def without_weights(names: Sequence[str], common: Sequence[str]) -> dict[str, str]:
    """Return the candidates whose encoder needs weights that are not at hand, and what is missing."""
    absent = {}
    for name in names:
        encoder = CANDIDATES[name].config(common).encoder
        if isinstance(encoder, Small | Mind):
            continue
        try:
            load_encoder(encoder, torch.device("cpu"))
        except WeightsError as error:
            absent[name] = str(error.faults[0].what)
    return absent


def train_candidate(
    name: str,
    common: Sequence[str],
    sequences: Sequence[LabelledCine],
    folder: Path,
    device: torch.device,
) -> float:
    """Train a candidate unless it is there; returns the seconds of this training, 0 where it was there."""
    if (folder / WEIGHTS).is_file():
        return 0.0
    begin = time.perf_counter()
    train(sequences, CANDIDATES[name].config(common), TrainOptions(folder, device, resume=True))
    return time.perf_counter() - begin
