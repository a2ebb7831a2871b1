"""What a scanner does to an image: blur, thick slices, bias field, streaks, noise, truncation."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.pretrain.anatomy.noise import smooth_noise
from dinoreg.space.separable import apply_along_axes, interpolation_matrix

_SLICED = (0.2, 0.2, 0.6)  # how often slices lie across R, A and S


def degrade(image: Tensor, rng: np.random.Generator, *, is_ct: bool) -> Tensor:
    """Return an image (S, S, S) as a scanner might have shown it, before normalisation."""
    image = _blur(image, rng.uniform(0.3, 0.9, size=3))
    if rng.random() < 0.3:
        axis = rng.choice(3, p=_SLICED)
        image = _thick_slices(image, int(axis), int(rng.integers(2, 4)))
    if is_ct:
        if rng.random() < 0.25:
            image = _cone_beam(image, rng)
    elif rng.random() < 0.7:
        image = image * (rng.uniform(0.05, 0.35) * smooth_noise(image.shape, 0.7 * len(image), rng)[0]).exp()
    return _noise(image, rng, rician=not is_ct)


def _blur(image: Tensor, sigmas: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Tensor:
    """Gaussian of `sigmas` voxels along the axes; the border is repeated."""
    out = image[None, None]
    for axis, sigma in enumerate(sigmas):
        reach = max(1, math.ceil(2.5 * sigma))
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernel = (-0.5 * (offsets / float(sigma)) ** 2).exp()
        shape, padding = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = 2 * reach + 1
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        out = F.conv3d(F.pad(out, padding, mode="replicate"), (kernel / kernel.sum()).view(shape))
    return out[0, 0]


def _thick_slices(image: Tensor, axis: int, factor: int) -> Tensor:
    """Average `factor` slices to one and interpolate back."""
    strides = [1, 1, 1]
    strides[axis] = factor
    thick = F.avg_pool3d(image[None], strides, ceil_mode=True, count_include_pad=False)
    matrices = [
        interpolation_matrix(n_out, n_in, s)
        for n_out, n_in, s in zip(image.shape, thick.shape[1:], strides, strict=True)
    ]
    return apply_along_axes(thick, matrices)[0]


def _cone_beam(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Streaks from bone and gas, cupping and less contrast; the axis of the rotation is array axis 2."""
    size = image.shape[0]
    axis = torch.linspace(-1, 1, size)
    x, y = axis.view(-1, 1), axis.view(1, -1)
    strong = ((image - 0.95).clamp(min=0) + 0.3 * (image < 0.02)).flatten(0, 1)  # (I * J, K)
    streaks = torch.zeros_like(strong)
    bins = 3 * size
    for angle in rng.uniform(0, math.pi, size=int(rng.integers(6, 20))):
        ray = (((x * math.cos(angle) + y * math.sin(angle)) / 3 + 0.5) * (bins - 1)).flatten().long()
        sums = torch.zeros(bins, strong.shape[1]).index_add_(0, ray, strong)
        smooth = F.avg_pool1d(sums.T.unsqueeze(0), 9, stride=1, padding=4)[0].T
        streaks += (sums - smooth)[ray]
    streaks = (streaks / streaks.std().clamp(min=1e-6)).view_as(image)
    cup = ((x**2 + y**2) * rng.uniform(0, 0.2)).unsqueeze(-1)
    return image * rng.uniform(0.75, 1.0) + rng.uniform(0.02, 0.12) * streaks + cup - 0.05


def _noise(image: Tensor, rng: np.random.Generator, *, rician: bool) -> Tensor:
    """Add noise, correlated over a voxel or so; the magnitude of two channels in MR."""
    strength = 0.06 * rng.uniform() ** 1.5

    def draw() -> Tensor:
        white = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
        return white.mul_(strength)

    if rician:
        return torch.hypot(image + draw(), draw())
    noise = draw()
    if rng.random() < 0.5:
        noise = 1.8 * _blur(noise, np.full(3, 0.6))
    return image + noise
