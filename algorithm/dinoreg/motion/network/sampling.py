"""What the training sees: frames of one sequence, resampled to the window under random affine maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.cines.window import Square, place_window, sample_frames, window_points
from dinoreg.motion.settings import Augment, MotionConfig

# Intensities of the template between these percentiles become [0, 1].
_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A sequence ready for the network.

    Attributes:
        frames: (T, 1, X, Y) in [0, 1].
        square: its window.
        template: number of the template frame.
    """

    frames: Tensor
    square: Square
    template: int


def prepare(sequence: LabelledCine, config: MotionConfig) -> Prepared:
    """Normalise the frames by the template's intensities and place the window.

    Raises:
        DataError: as for `place_window`.
    """
    cine = sequence.cine
    low, high = np.percentile(cine.frames[sequence.template], _PERCENTILES)
    frames = ((cine.frames - low) / max(high - low, 1e-6)).clip(0, 1)
    _, x, y = cine.frames.shape
    square = place_window(config.window, (x, y), cine.spacing_mm, sequence.target, sequence.id)
    return Prepared(torch.from_numpy(frames.astype(np.float32))[:, None], square, sequence.template)


def windows_of(prepared: Prepared, numbers: Tensor | None = None) -> Tensor:
    """Return the windows (B, 1, S, S) of the frames with these numbers, or of all."""
    frames = prepared.frames if numbers is None else prepared.frames[numbers]
    points = window_points(prepared.square.pixels).expand(len(frames), -1, -1, -1)
    return sample_frames(frames, prepared.square, points)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A batch of windows.

    Attributes:
        windows: (B, 1, S, S) in [0, 1]. Any two are a pair to register.
        own: (B, 3, 3), from the coordinates of each window to those that the batch shares; None where the
            frames were not brought apart.
    """

    windows: Tensor
    own: Tensor | None


def draw_windows(prepared: Prepared, settings: Augment, frames: int, generator: torch.Generator) -> Drawn:
    """Draw frames over time and resample each under a random affine map.

    Args:
        prepared: the sequence.
        settings: sizes of the maps.
        frames: how many, in random order; with repetition where the sequence is shorter.
        generator: of all random numbers.
    """
    count = len(prepared.frames)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(-(-frames // count))])
    chosen = prepared.frames[order[:frames]]
    maps = _affine_maps(
        1,
        generator,
        degrees=settings.rotation_degrees,
        translation=settings.translation,
        scaling=settings.scaling,
        flips=settings.flips,
    ).expand(frames, -1, -1)
    own = None
    if _uniform(1, generator).item() < settings.misaligned_share:
        own = _affine_maps(
            frames,
            generator,
            degrees=settings.misaligned_rotation_degrees,
            translation=settings.misaligned_translation,
            scaling=settings.misaligned_scaling,
        )
        maps = maps @ own
    points = window_points(prepared.square.pixels).reshape(1, -1, 2)
    mapped = points @ maps[:, :2, :2].mT + maps[:, None, :2, 2]
    side = prepared.square.pixels
    windows = sample_frames(chosen, prepared.square, mapped.reshape(frames, side, side, 2))
    exponent = torch.exp(settings.gamma * (2 * _uniform(1, generator) - 1))
    return Drawn(windows.clamp_min(1e-6) ** exponent, own)


def _affine_maps(
    count: int,
    generator: torch.Generator,
    *,
    degrees: float,
    translation: float,
    scaling: float,
    flips: bool = False,
) -> Tensor:
    """Return (count, 3, 3) maps of window coordinates, each number uniform within its range."""
    angle = math.radians(degrees) * (2 * _uniform(count, generator) - 1)
    scale = torch.exp(math.log1p(scaling) * (2 * _uniform(count, generator) - 1))
    # A share of the side is twice as much in coordinates that span 2.
    shift = 2 * translation * (2 * torch.rand(count, 2, generator=generator) - 1)
    mirror = 1 - 2 * (_uniform(count, generator) < (0.5 if flips else 0.0)).float()
    maps = torch.zeros(count, 3, 3)
    maps[:, 0, 0], maps[:, 0, 1] = scale * angle.cos() * mirror, -scale * angle.sin()
    maps[:, 1, 0], maps[:, 1, 1] = scale * angle.sin() * mirror, scale * angle.cos()
    maps[:, :2, 2], maps[:, 2, 2] = shift, 1
    return maps


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator)
