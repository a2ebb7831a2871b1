"""The folder of a training: weights, checkpoint, loss curve, each there whole or not at all.

`weights.safetensors` holds what the training changed (adapters, decoder, a backbone of our own) and, in its
metadata, the configuration; `checkpoint.pt` besides the state of the optimiser and of the random numbers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open

from dinoreg.encoders.registry import Load, load_encoder
from dinoreg.errors import ConfigError, WeightsError
from dinoreg.motion.cines.thresholds import Thresholds
from dinoreg.motion.network.backbone import build_net
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.settings import MotionConfig
from dinoreg.settings.load import parse_settings
from dinoreg.weights.safe_file import write_safetensors, write_state
from regtask.atomic import atomic_path, atomic_write_text
from regtask.errors import Fault

WEIGHTS, CHECKPOINT, CURVE = "weights.safetensors", "checkpoint.pt", "loss"
# Steps that one point of the picture of the losses averages.
_SMOOTHED = 25


@dataclass(slots=True)
class Progress:
    """How far a training is.

    Attributes:
        step: steps done.
        losses: one per step.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)


def write_checkpoint(
    folder: Path,
    config: MotionConfig,
    net: LandmarkNet,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    """Write everything that the next step depends on."""
    state = {
        "config": config.model_dump_json(),
        "net": net.trained_tensors(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "progress": asdict(progress),
    }
    write_state(folder / CHECKPOINT, state)


def read_checkpoint(
    folder: Path,
    config: MotionConfig,
    net: LandmarkNet,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> Progress | None:
    """Take over the checkpoint in a folder, in place; None where there is none.

    Raises:
        WeightsError: the file cannot be read.
        ConfigError: it belongs to another configuration.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        theirs = str(state["config"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
        raise WeightsError(Fault("checkpoint not readable", str(path), got=str(error)[:200])) from error
    if not _trains_as(theirs, config):
        raise ConfigError(
            Fault(
                "checkpoint of another configuration",
                str(path),
                remedy="resume with the configuration of the first run, or train into another folder",
            )
        )
    net.load_trained(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    return Progress(**state["progress"])


def _trains_as(text: str, config: MotionConfig) -> bool:
    """Tell whether a written configuration trains the same network: the rigid search takes no part in it."""
    try:
        theirs = MotionConfig.model_validate_json(text)
    except ValueError:
        return False
    return theirs.model_copy(update={"search": config.search}) == config


def write_weights(folder: Path, config: MotionConfig, net: LandmarkNet, thresholds: Thresholds) -> None:
    """Write what was trained, with its configuration and thresholds, as safetensors."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.trained_tensors().items()}
    metadata = {"config": config.model_dump_json(), "thresholds": json.dumps(asdict(thresholds))}
    write_safetensors(folder / WEIGHTS, tensors, metadata)


def load_tracker(
    folder: Path, device: torch.device, *, load: Load = load_encoder
) -> tuple[LandmarkNet, MotionConfig, Thresholds]:
    """Read a trained network.

    Args:
        folder: of the training, or the weights file itself.
        device: where the network goes.
        load: how registered encoders are found.

    Raises:
        WeightsError: no weights, damaged, or not fitting their own configuration.
    """
    path = folder / WEIGHTS if folder.is_dir() else folder
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        config = parse_settings(MotionConfig, json.loads(metadata["config"]), where=str(path))
        thresholds = Thresholds(**json.loads(metadata["thresholds"]))
    except FileNotFoundError as error:
        remedy = "finish the training: dinoreg motion train --resume"
        raise WeightsError(Fault("no trained weights", str(path), remedy=remedy)) from error
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(Fault("weights not readable", str(path), got=str(error)[:200])) from error
    net = build_net(config, device, load=load)
    try:
        net.load_trained(tensors)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(Fault("weights do not fit", str(path), got=str(error)[:300])) from error
    return net.eval(), config, thresholds


def write_curve(folder: Path, losses: list[float]) -> None:
    """Write the losses as `loss.csv`, one row per step, and as `loss.png`, averaged over neighbours."""
    rows = "".join(f"{step},{loss:.6g}\n" for step, loss in enumerate(losses, start=1))
    atomic_write_text(folder / f"{CURVE}.csv", "step,loss\n" + rows)
    width = min(_SMOOTHED, len(losses))
    means = torch.tensor(losses).unfold(0, width, 1).mean(dim=1)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(range(width, len(losses) + 1), means.numpy())
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(f"mean squared difference, mean of {width} steps")
    with atomic_path(folder / f"{CURVE}.png") as temporary:
        figure.savefig(temporary, dpi=110)
