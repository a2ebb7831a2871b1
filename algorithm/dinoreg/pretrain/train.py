"""The training loop; what it does in a step depends on seed and step alone, so it resumes exactly."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from dinoreg.encoders.dino3d.vit import VitNetwork
from dinoreg.errors import ConfigError, NumericalError
from dinoreg.pretrain.anatomy.bank import anatomy_bank
from dinoreg.pretrain.batches import Batches, Sources, batches_from
from dinoreg.pretrain.checkpoint import CHECKPOINT, Progress, read_checkpoint, write_checkpoint
from dinoreg.pretrain.log import write_log
from dinoreg.pretrain.objective.learner import Learner
from dinoreg.pretrain.picture import FeaturePictures
from dinoreg.pretrain.result import write_result
from dinoreg.pretrain.settings import PretrainConfig, Training
from dinoreg.pretrain.validate import held_out_scans, score
from dinoreg.pretrain.views.pair import ViewPair
from dinoreg.pretrain.views.scans import read_scans
from regtask.atomic import atomic_write_text, remove_leftovers
from regtask.errors import Fault

log = logging.getLogger(__name__)

CONFIG, ANATOMIES = "config.json", "anatomies"
_LOG_EVERY = 20  # steps


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What does not change the result, but for a rounding where the device is another one or a GPU.

    Attributes:
        folder: of the run; made if absent.
        device: where the training runs.
        resume: go on from the checkpoint in the folder, or begin where there is none yet.
        real: a scan whose features are pictured as the training goes; it is not trained on.
        stop_at: step to stop at for now, with a checkpoint; None: the last one.
    """

    folder: Path
    device: torch.device
    resume: bool = False
    real: Path | None = None
    stop_at: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Parameters with one share of the learning rate, that decay or do not."""

    pace: float
    decays: bool
    parameters: list[Tensor]


def pretrain(config: PretrainConfig, options: TrainOptions) -> Progress:
    """Train, or go on training, and write the result so far into the folder of the run.

    Raises:
        ConfigError: the folder holds another run, or the scans have changed since it began.
        WeightsError: its checkpoint cannot be read.
        DataError: a scan cannot be read.
        NumericalError: a gradient is not finite.
    """
    config = config.on(options.device.type)
    training, folder = config.training, options.folder
    learner = Learner(config, options.device)
    groups = _groups(learner, training)
    optimiser = torch.optim.AdamW(
        [{"params": group.parameters} for group in groups], lr=training.learning_rate, betas=(0.9, 0.95)
    )
    progress = _begin(learner, optimiser, options)
    sources = _sources(config, folder)
    _check_scans([scan.name for scan in sources.scans], progress, config)
    scans = held_out_scans()
    pictures = FeaturePictures(folder, scans, options.real)
    stop = training.steps if options.stop_at is None else min(training.steps, options.stop_at)
    saved = started = time.monotonic()
    before = progress.seconds
    batches = Batches(sources, config)
    for pairs in batches_from(progress.step, batches, workers=training.workers, stop=stop):
        progress.steps.append(_step(learner, optimiser, groups, pairs, progress.step))
        progress.step += 1
        progress.seconds = before + time.monotonic() - started
        last = progress.step == stop
        if progress.step % _LOG_EVERY == 0 or last:
            log.info("%s", _line(progress, training))
        if progress.step % training.picture_steps == 0 or last:
            found = score(learner.encode, scans)
            progress.scores.append({"step": progress.step, **asdict(found)})
            log.info("held-out patients: %s", found)
            pictures.draw(learner.encode, progress.step)
        if last or time.monotonic() - saved > 60 * training.checkpoint_minutes:
            write_checkpoint(folder, learner, optimiser, progress)
            write_log(folder, progress)
            saved = time.monotonic()
    write_result(folder, learner, progress)
    return progress


def _begin(learner: Learner, optimiser: torch.optim.Optimizer, options: TrainOptions) -> Progress:
    folder = options.folder
    found = (folder / CHECKPOINT).is_file()
    if found and not options.resume:
        raise ConfigError(
            Fault("folder holds a training", str(folder), remedy="--resume it, or choose another folder")
        )
    for place in (folder, folder / ANATOMIES):
        remove_leftovers(place)
    progress = read_checkpoint(folder, learner, optimiser) if options.resume else None
    if progress is None:
        _check_anatomies(folder, learner.config)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(folder / CONFIG, learner.config.model_dump_json(indent=1) + "\n")
        start_from = learner.config.network.start_from
        return Progress(origin=learner.begin_with(Path(start_from)) if start_from else {})
    log.info("resuming at step %d", progress.step)
    return progress


def _check_anatomies(folder: Path, config: PretrainConfig) -> None:
    """Refuse anatomies that a run without a checkpoint has left behind, drawn from another seed or size."""
    if not (folder / CONFIG).is_file() or not (folder / ANATOMIES).is_dir():
        return
    try:
        left = PretrainConfig.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError:
        left = None
    if left is None or _drawn_from(left) != _drawn_from(config):
        raise ConfigError(
            Fault("anatomies of another configuration", str(folder / ANATOMIES), remedy="delete them")
        )


def _drawn_from(config: PretrainConfig) -> tuple[float, ...]:
    return config.training.seed, config.anatomy.random_size, config.anatomy.torso_spacing_mm


def _sources(config: PretrainConfig, folder: Path) -> Sources:
    anatomies = anatomy_bank(folder / ANATOMIES, config.anatomy, config.training.seed)
    return Sources(
        torsos=[a for a in anatomies if a.oriented],
        bodies=[a for a in anatomies if not a.oriented],
        scans=read_scans(Path(config.anatomy.scans), config.views) if config.anatomy.scans else [],
    )


def _check_scans(names: list[str], progress: Progress, config: PretrainConfig) -> None:
    """Refuse other scans than a training began with: it would see others than it would have seen."""
    if progress.step and names != progress.scans:
        changed = sorted(set(names) ^ set(progress.scans))
        raise ConfigError(
            Fault(
                "not the scans that the training began with",
                config.anatomy.scans,
                expected=f"{len(progress.scans)} scans",
                got=f"{len(names)} scans; gone or new: {', '.join(changed[:5])}",
                remedy="put the folder back, or train into another one with start_from",
            )
        )
    progress.scans = names


def _groups(learner: Learner, training: Training) -> list[_Group]:
    """Decay what multiplies, not offsets, norms and tokens; with `layer_decay` earlier blocks move less."""
    found: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in learner.student.named_parameters():
        found.setdefault((_pace(learner, training, name), parameter.ndim > 1), []).append(parameter)
    return [_Group(*key, found[key]) for key in sorted(found, reverse=True)]


def _pace(learner: Learner, training: Training, name: str) -> float:
    """Share of the learning rate for a parameter of the student."""
    network, own = learner.student.network, name.removeprefix("network.")
    if not isinstance(network, VitNetwork) or own == name:
        return 1.0
    return float(training.layer_decay ** (network.depth + 1 - network.layer_of(own)))


def weight_decay(step: int, training: Training) -> float:
    """Return the decay of a step: from the first value to the last along half a cosine."""
    last = training.weight_decay if training.weight_decay_last is None else training.weight_decay_last
    share = 0.5 * (1 - math.cos(math.pi * step / training.steps))
    return training.weight_decay + share * (last - training.weight_decay)


def learning_rate(step: int, training: Training) -> float:
    """Return the rate of a step: a linear rise, then half a cosine to 0.2 % of it."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    share = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    return training.learning_rate * (0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * share)))


def _step(
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    groups: list[_Group],
    pairs: list[ViewPair],
    step: int,
) -> dict[str, float]:
    training = learner.config.training
    for own, group in zip(groups, optimiser.param_groups, strict=True):
        group["lr"] = own.pace * learning_rate(step, training)
        group["weight_decay"] = weight_decay(step, training) if own.decays else 0.0
    loss, parts = learner.loss(pairs, step)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm: Tensor = torch.nn.utils.clip_grad_norm_(learner.student.parameters(), training.max_gradient)
    if not bool(norm.isfinite()):
        raise NumericalError(
            Fault(
                "gradient not finite",
                f"step {step}",
                got=str(parts),
                remedy="train anew with a smaller learning_rate, or start_from the weights before it",
            )
        )
    optimiser.step()
    learner.follow(step)
    return parts


def _line(progress: Progress, training: Training) -> str:
    recent = progress.steps[-_LOG_EVERY:]
    means = {name: sum(row.get(name, 0.0) for row in recent) / len(recent) for name in recent[-1]}
    text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    return f"step {progress.step}/{training.steps} {text} ({progress.seconds / progress.step:.2f} s per step)"
