"""A rigid look before the network: which rotation and shift bring a frame nearest to the template.

Convention: the map leads from window coordinates of the template to those of the frame,
aligned(x) = frame(map x), as a pull. Rotations are about the middle of the window.

For every angle the frame is turned, and the correlation with the template is found for all shifts at once by
Fourier transforms, over the places that lie within the frame (Padfield 2012, "Masked object registration in
the Fourier domain", with a mask of the frame alone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.motion.cines.window import Square, sample_frames
from dinoreg.motion.settings import Search

_FINER = 3  # so many times finer are the angles of the second look
_LEAST_OVERLAP = 0.4  # of the template's window that has to lie within the frame
_LEAST_VARIANCE = 1e-5  # of intensities in [0, 1]; less is a flat image
_OVERSAMPLING = 2  # samples per pixel of the search and axis, averaged


@dataclass(frozen=True, slots=True)
class Found:
    """A rigid motion.

    Attributes:
        matrix: (2, 3), window coordinates of the template to those of the frame.
        degrees: its angle.
        correlation: of the aligned frame with the template; for the identity, that without motion.
    """

    matrix: Tensor
    degrees: float
    correlation: float


class RigidSearch:
    """Finds the rigid motion of frames of one sequence, on the CPU."""

    def __init__(self, template: Tensor, square: Square, settings: Search) -> None:
        """Take up the template.

        Args:
            template: (1, 1, X, Y) in [0, 1].
            square: the window, of the template and of all frames.
            settings: how far to look.
        """
        self._square, self._settings = square, settings
        side, reach = settings.pixels, math.ceil(settings.translation * settings.pixels)
        self._reach, self._size = reach, side + 2 * reach
        self._points = _points(self._size, 2 / side)
        inner = sample_frames(template, square, _points(side, 2 / side)[None])
        seen = F.avg_pool2d(inner, _OVERSAMPLING)[0, 0]
        seen = seen - seen.mean()  # correlation does not mind, and sums lose fewer digits
        kernels = torch.stack([torch.ones_like(seen), seen, seen.square()])
        self._kernels = torch.fft.rfft2(kernels, s=(self._size, self._size)).conj()

    def __call__(self, frame: Tensor) -> Found:
        """Return the motion of a frame (1, 1, X, Y), or the identity where that is hardly worse."""
        settings = self._settings
        count = math.ceil(settings.rotation_degrees / settings.step_degrees)
        angles = settings.step_degrees * torch.arange(-count, count + 1, dtype=torch.float64)
        rough = self._correlate(frame, angles)
        without = max(0.0, float(rough[count, self._reach, self._reach]))
        best = angles[int(rough.flatten(1).amax(dim=1).argmax())]
        nearby = torch.arange(-_FINER, _FINER + 1, dtype=torch.float64)
        angles = best + settings.step_degrees / _FINER * nearby
        fine = self._correlate(frame, angles)
        matrix, degrees, correlation = self._peak(fine, angles)
        if correlation < without + settings.gain:
            return Found(torch.eye(2, 3), 0.0, without)
        return Found(matrix, degrees, correlation)

    def _correlate(self, frame: Tensor, degrees: Tensor) -> Tensor:
        """Correlation with the template for angles and shifts, (A, 2 reach + 1, 2 reach + 1)."""
        points = self._points.reshape(1, -1, 2) @ _rotations(degrees).mT
        points = points.reshape(len(degrees), *self._points.shape)
        turned = sample_frames(frame.expand(len(degrees), -1, -1, -1), self._square, points)
        within = _within(self._square.to_voxels(points), frame.shape[2:]).unsqueeze(1).float()
        image, share = (F.avg_pool2d(v, _OVERSAMPLING)[:, 0] for v in (turned * within, within))
        image = torch.where(share > 0, image / share.clamp(min=1e-6), 0.0) - 0.5
        weighted = torch.stack([share, share * image, share * image.square()])  # (3, A, S, S)
        spectra = torch.fft.rfft2(weighted)
        ones, kernel, square = self._kernels
        products = torch.stack([
            spectra[0] * ones, spectra[1] * ones, spectra[2] * ones,
            spectra[0] * kernel, spectra[0] * square, spectra[1] * kernel,
        ])  # fmt: skip
        shifts = 2 * self._reach + 1
        found = torch.fft.irfft2(products, s=(self._size, self._size))[..., :shifts, :shifts]
        count = found[0].clamp(min=1e-6)
        covariance = found[5] - found[1] * found[3] / count
        variances = [
            (found[power] - found[mean].square() / count).clamp(min=0) for power, mean in ((2, 1), (4, 3))
        ]
        usable = count > _LEAST_OVERLAP * self._settings.pixels**2
        for variance in variances:
            usable &= variance > _LEAST_VARIANCE * count
        scale = (variances[0] * variances[1]).sqrt()
        return torch.where(usable, covariance / scale.clamp(min=1e-12), -1.0)

    def _peak(self, correlations: Tensor, degrees: Tensor) -> tuple[Tensor, float, float]:
        """The map of the largest correlation, between the samples by a parabola along each axis."""
        place = [int(n) for n in torch.unravel_index(correlations.argmax(), correlations.shape)]
        beside = []
        for axis, (at, size) in enumerate(zip(place, correlations.shape, strict=True)):
            line = correlations
            for other in (a for a in (2, 1, 0) if a != axis):
                line = line.select(other, place[other])
            beside.append(_summit(*line[at - 1 : at + 2].tolist()) if 0 < at < size - 1 else 0.0)
        angle = float(degrees[place[0]] + beside[0] * (degrees[1] - degrees[0]))
        cell = 2 / self._settings.pixels
        shift = torch.tensor([cell * (place[a] + beside[a] - self._reach) for a in (1, 2)])
        turn = _rotations(torch.tensor([angle]))[0]
        matrix = torch.cat([turn, (turn @ shift).unsqueeze(1)], dim=1)
        return matrix, angle, float(correlations.max())


def apply_rigid(matrix: Tensor, points: Tensor) -> Tensor:
    """Map points (..., 2) by a (2, 3) matrix."""
    moved: Tensor = points @ matrix[:, :2].mT + matrix[:, 2]
    return moved


def _points(side: int, cell: float) -> Tensor:
    """Window coordinates of the samples of a square of `side` pixels about the middle, (P, P, 2)."""
    count = side * _OVERSAMPLING
    line = (torch.arange(count, dtype=torch.float32) - (count - 1) / 2) * (cell / _OVERSAMPLING)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)


def _rotations(degrees: Tensor) -> Tensor:
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos().float(), angle.sin().float()
    return torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)


def _within(voxels: Tensor, shape: torch.Size) -> Tensor:
    last = voxels.new_tensor(shape) - 0.5
    return ((voxels >= -0.5) & (voxels <= last)).all(dim=-1)


def _summit(before: float, at: float, after: float) -> float:
    """Where a parabola through three neighbours is highest, in (-0.5, 0.5) of their distance."""
    bend = before - 2 * at + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
