"""When a frame is not to be trusted: how much worse than in training may the fit be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dinoreg.motion.cines.window import warp_windows, window_points
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.network.sampling import Prepared, windows_of
from dinoreg.motion.settings import MotionConfig
from dinoreg.motion.transforms import fit_residual, solve

# A frame is flagged beyond this many times the 99th percentile of the training frames.
_MARGIN = 1.5
_PERCENTILE = 99.0
# Frames that are encoded at a time.
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits beyond which a frame is flagged.

    Attributes:
        residual: of the landmarks' affine fit, root mean square, share of half the window's side.
        difference: root mean squared difference of the warped template and the frame, intensities in [0, 1].
    """

    residual: float
    difference: float


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How well frames fit their template; (B,) each, in the units of `Thresholds`."""

    residual: Tensor
    difference: Tensor

    def flagged(self, limits: Thresholds) -> list[str]:
        """Return for each frame what is beyond the limits: "", "landmarks", "image" or "landmarks image"."""
        rows = zip(self.residual.tolist(), self.difference.tolist(), strict=True)
        return [
            " ".join(
                name
                for name, value, limit in (
                    ("landmarks", residual, limits.residual),
                    ("image", difference, limits.difference),
                )
                if not value <= limit
            )
            for residual, difference in rows
        ]


def judge(
    config: MotionConfig, windows: Tensor, landmarks: Tensor, template: Tensor, template_landmarks: Tensor
) -> Fit:
    """Compare frames with the template that is warped onto them.

    Args:
        config: kind of the transform.
        windows: (B, 1, S, S) of the frames.
        landmarks: (B, N, 2) of the frames.
        template: (1, 1, S, S).
        template_landmarks: (1, N, 2).
    """
    count, side = len(windows), windows.shape[-1]
    target = template_landmarks.expand(count, -1, -1)
    transform = solve(config.landmarks.transform, landmarks, target, smoothing=config.landmarks.smoothing)
    points = window_points(side, device=windows.device).reshape(1, -1, 2).expand(count, -1, -1)
    mapped = transform.apply(points).reshape(count, side, side, 2)
    warped = warp_windows(template.expand(count, -1, -1, -1), mapped)
    difference = (warped - windows).square().mean(dim=(1, 2, 3)).sqrt()
    return Fit(fit_residual(landmarks, target), difference)


@torch.no_grad()
def calibrate(net: LandmarkNet, prepared: Sequence[Prepared], config: MotionConfig) -> Thresholds:
    """Return the limits that the frames of the training set keep to, with a margin."""
    device = next(net.parameters()).device
    fits = []
    for sequence in prepared:
        windows = windows_of(sequence).to(device)
        landmarks = torch.cat([net(window) for window in torch.split(windows, _BATCH)])
        chosen = slice(sequence.template, sequence.template + 1)
        fits.append(judge(config, windows, landmarks, windows[chosen], landmarks[chosen]))
    residual, difference = (
        float(np.percentile(np.concatenate([getattr(fit, key).cpu().numpy() for fit in fits]), _PERCENTILE))
        for key in ("residual", "difference")
    )
    return Thresholds(_MARGIN * residual, _MARGIN * difference)
