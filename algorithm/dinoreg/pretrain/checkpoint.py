"""The folder of a training: configuration, checkpoint, log; each there whole or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import ValidationError

from dinoreg.errors import ConfigError, WeightsError
from dinoreg.pretrain.objective.learner import Learner
from dinoreg.pretrain.settings import PretrainConfig
from dinoreg.weights.safe_file import write_state
from regtask.errors import Fault

CHECKPOINT = "checkpoint.pt"


@dataclass(slots=True)
class Progress:
    """How far a training is.

    Attributes:
        step: steps done.
        seconds: time they took.
        steps: parts of the loss, one row per step.
        scores: on the held-out patients, with the step they were taken at.
        scans: names of the scans that are trained on, in order.
        origin: what is known of the weights that the training began with; empty where they were random.
    """

    step: int = 0
    seconds: float = 0.0
    steps: list[dict[str, float]] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(
    folder: Path, learner: Learner, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write everything that the next step depends on.

    Raises:
        OutputError: the file cannot be written.
    """
    state = {
        "config": learner.config.model_dump_json(),
        "student": learner.student.state_dict(),
        "average": learner.average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": asdict(progress),
    }
    write_state(folder / CHECKPOINT, state)


def read_checkpoint(folder: Path, learner: Learner, optimiser: torch.optim.Optimizer) -> Progress | None:
    """Take over the checkpoint in a folder, in place; None where there is none.

    Raises:
        WeightsError: the file cannot be read, or holds other networks.
        ConfigError: it belongs to another configuration, or to settings that this version does not know.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=learner.device)
        if _settings(str(state["config"]), path).trains_as(learner.config):
            learner.student.load_state_dict(state["student"])
            learner.average.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            return Progress(**state["progress"])
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(Fault("checkpoint not readable", str(path), got=reason)) from error
    raise ConfigError(
        Fault(
            "checkpoint of another configuration",
            str(path),
            remedy="resume without --config, which takes that of the run, or train into another folder",
        )
    )


def _settings(text: str, path: Path) -> PretrainConfig:
    try:
        return PretrainConfig.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(
            Fault(
                "checkpoint with settings that this version does not know",
                str(path),
                got=", ".join(".".join(map(str, detail["loc"])) for detail in error.errors())[:200],
                remedy="go on with the version that began it, or train anew with its result as start_from",
            )
        ) from error
