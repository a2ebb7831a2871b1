"""Pictures of the features as the training goes: their three leading components as red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import affine_transform
from torch import Tensor

from dinoreg.encoders.pca import fit_basis
from dinoreg.pretrain.validate import HELD_OUT_MM, HELD_OUT_SHAPE, Encode, HeldOutPatients
from dinoreg.pretrain.views.scans import read_scan
from dinoreg.report.feature_picture import draw_features


class FeaturePictures:
    """A synthetic CT beside the MR of the same patient and, where given, a real scan beside that CT."""

    def __init__(self, folder: Path, scans: Sequence[HeldOutPatients], real: Path | None) -> None:
        """Take the first of the held-out scans, and read the real one.

        Raises:
            DataError: it cannot be read.
        """
        self._folder = folder / "features"
        self._ct, self._mr, _ = scans[0]
        self._real = None if real is None else _on_held_out_grid(real)

    def draw(self, encode: Encode, step: int) -> None:
        """Write `features/synthetic-STEP.png` and, with a real scan, `features/real-STEP.png`."""
        self._folder.mkdir(exist_ok=True)
        self._pair("synthetic", encode, self._ct.image, self._mr.image, step)
        if self._real is not None:
            self._pair("real", encode, self._real, self._ct.image, step)

    def _pair(self, name: str, encode: Encode, one: Tensor, two: Tensor, step: int) -> None:
        features = [encode(image).numpy() for image in (one, two)]
        stride = one.shape[-1] // features[0].shape[-1]
        weights = [F.avg_pool3d((image > 0).float(), stride)[0, 0].numpy() for image in (one, two)]
        tokens = [torch.from_numpy(f[:, w > 0.5].T) for f, w in zip(features, weights, strict=True)]
        basis = fit_basis(tokens, 3)
        colours = []
        for values, weight in zip(features, weights, strict=True):
            flat = basis.project(torch.from_numpy(values.reshape(len(values), -1).T))
            colours.append(flat.T.reshape(3, *weight.shape).numpy())
        path, spacing = self._folder / f"{name}-{step:06d}.png", (stride * HELD_OUT_MM,) * 3
        first, second = weights
        draw_features(path, colours[0], colours[1], first, second, spacing, title=f"{name}, step {step}")


def _on_held_out_grid(path: Path) -> Tensor:
    """Read a scan onto an RAS grid around its middle, (1, 1, I, J, K) in [0, 1], 0 outside the body."""
    scan = read_scan(path, HELD_OUT_MM)
    matrix = scan.from_ras * HELD_OUT_MM
    offset = (np.array(scan.values.shape) - 1) / 2 - matrix @ ((np.array(HELD_OUT_SHAPE) - 1) / 2)
    shown = np.where(scan.foreground, scan.values, 0).astype(np.float32)
    grid = affine_transform(shown, matrix, offset, output_shape=HELD_OUT_SHAPE, order=1)
    return torch.from_numpy(np.ascontiguousarray(grid, np.float32))[None, None]
