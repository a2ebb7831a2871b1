"""Training of a tracker by image similarity alone; resumes exactly where it was stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dinoreg.encoders.registry import Load, load_encoder
from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.cines.thresholds import calibrate
from dinoreg.motion.cines.window import warp_windows, window_points
from dinoreg.motion.network.backbone import build_net
from dinoreg.motion.network.checkpoint import (
    Progress,
    read_checkpoint,
    write_checkpoint,
    write_curve,
    write_weights,
)
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.network.sampling import Prepared, draw_windows, prepare
from dinoreg.motion.settings import MotionConfig
from dinoreg.motion.transforms import solve

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Where a training writes and runs.

    Attributes:
        output: folder of weights, checkpoint and curves.
        device: of the network.
        resume: go on from the checkpoint in `output`, if there is one.
        stop_after: end the process's work after this many steps of its own; None runs to the end.
    """

    output: Path
    device: torch.device
    resume: bool = False
    stop_after: int | None = None


def train(
    sequences: Sequence[LabelledCine],
    config: MotionConfig,
    options: TrainOptions,
    *,
    load: Load = load_encoder,
) -> LandmarkNet:
    """Train a network and write it to `options.output`.

    Minimises the mean squared difference between each frame and the next one of the batch, warped onto it by
    the closed-form transform of their landmarks. Labels are used for the place of the window alone.

    Args:
        sequences: to learn from.
        config: of the tracker.
        options: folder, device, resumption.
        load: how registered encoders are found.

    Raises:
        DataError: a sequence cannot be used.
        ConfigError: the checkpoint belongs to another configuration.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.training.seed)
    net = build_net(config, options.device, load=load).train()
    optimiser = torch.optim.AdamW(
        [value for value in net.parameters() if value.requires_grad],
        lr=config.training.learning_rate,
        weight_decay=config.training.weight_decay,
    )
    generator = torch.Generator().manual_seed(config.training.seed)
    progress = Progress()
    if options.resume:
        progress = read_checkpoint(options.output, config, net, optimiser, generator) or progress
    prepared = [prepare(sequence, config) for sequence in sequences]
    last = config.training.steps
    if options.stop_after is not None:
        last = min(last, progress.step + options.stop_after)
    first, begin = progress.step, time.perf_counter()
    for step in range(progress.step, last):
        progress.losses.append(_step(net, optimiser, prepared, config, step, generator))
        progress.step = step + 1
        if progress.step % config.training.checkpoint_every == 0 or progress.step == last:
            write_checkpoint(options.output, config, net, optimiser, generator, progress)
            write_curve(options.output, progress.losses)
            recent = progress.losses[-config.training.checkpoint_every :]
            log.info(
                "step %d/%d  loss %.5f  %.2f s/step",
                progress.step,
                config.training.steps,
                sum(recent) / len(recent),
                (time.perf_counter() - begin) / (progress.step - first),
            )
    if progress.step >= config.training.steps:
        net.eval()
        write_weights(options.output, config, net, calibrate(net, prepared, config))
    return net


def pair_loss(
    config: MotionConfig, windows: Tensor, landmarks: Tensor, *, phase: tuple[int, int] = (0, 0)
) -> Tensor:
    """Return the mean squared difference of each window and the next one, warped onto it.

    The last one meets the first, so that every window is fixed once and moving once.

    Args:
        config: kind and smoothing of the transform.
        windows: (B, 1, S, S).
        landmarks: (B, N, 2) of the windows.
        phase: of the pixels that count, below the stride of the configuration along each axis.
    """
    moving, target = windows.roll(-1, dims=0), landmarks.roll(-1, dims=0)
    transform = solve(config.landmarks.transform, landmarks, target, smoothing=config.landmarks.smoothing)
    stride = config.training.loss_stride
    rows, columns = (slice(start, None, stride) for start in phase)
    points = window_points(windows.shape[-1], device=windows.device)[rows, columns]
    shape = points.shape[:2]
    mapped = transform.apply(points.reshape(1, -1, 2).expand(len(windows), -1, -1))
    mapped = mapped.reshape(len(windows), *shape, 2)
    return (warp_windows(moving, mapped) - windows[:, :, rows, columns]).square().mean()


def scatter(landmarks: Tensor, own: Tensor) -> Tensor:
    """Return the mean squared distance of each landmark from its mean over the batch, where frames coincide.

    Args:
        landmarks: (B, N, 2) of windows that were brought apart.
        own: (B, 3, 3), to the coordinates that they share.
    """
    shared = landmarks @ own[:, :2, :2].mT + own[:, None, :2, 2]
    return (shared - shared.mean(dim=0)).square().sum(dim=2).mean()


def _step(
    net: LandmarkNet,
    optimiser: torch.optim.Optimizer,
    prepared: Sequence[Prepared],
    config: MotionConfig,
    step: int,
    generator: torch.Generator,
) -> float:
    settings = config.training
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    chosen = prepared[int(torch.randint(len(prepared), (1,), generator=generator))]
    drawn = draw_windows(chosen, config.augment, settings.frames, generator)
    windows = drawn.windows.to(next(net.parameters()).device)
    row, column = torch.randint(settings.loss_stride, (2,), generator=generator).tolist()
    landmarks = net(windows)
    loss = pair_loss(config, windows, landmarks, phase=(row, column))
    if drawn.own is not None and settings.equivariance_weight:
        loss = loss + settings.equivariance_weight * scatter(landmarks, drawn.own.to(windows.device))
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), settings.max_gradient)
    optimiser.step()
    return float(loss.detach())
