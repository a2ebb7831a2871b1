"""Both images at one resolution: cells averaged, samples drawn, values in bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from dinoreg.linear.information import BothWays, Comparison
from dinoreg.linear.maps import inverse
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.space.lattice import pool

_SEED = 0
_EDGE_CELLS = 2  # beside the foreground: where a body ends is seen
_TAILS = 0.1, 99.9  # percentiles beyond which values share a bin


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A prepared image and where its voxels lie.

    Attributes:
        image: (I, J, K).
        to_mm: (4, 4), index of a voxel's centre to mm.
    """

    image: PreparedImage
    to_mm: NDArray[np.float64]

    def body(self) -> tuple[NDArray[np.float64], float]:
        """Return the centre of the foreground, (3,) mm, and the edge of the cube as large as its box, mm."""
        inside = np.argwhere(self.image.foreground)
        if not len(inside):
            inside = np.array([[0, 0, 0], np.array(self.image.values.shape) - 1])
        centre = self.to_mm[:3, :3] @ inside.mean(axis=0) + self.to_mm[:3, 3]
        sides = (np.ptp(inside, axis=0) + 1) * np.linalg.norm(self.to_mm[:3, :3], axis=0)
        return centre, float(np.prod(sides) ** (1 / 3))


@dataclass(frozen=True, slots=True)
class Resolution:
    """How finely two images are compared.

    Attributes:
        cell_mm: of the cells of both; a voxel that is larger stays as it is.
        samples: of each image, at most.
        bins: of the histogram.
        edge: whether samples just outside the foreground count too.
    """

    cell_mm: float
    samples: int
    bins: int
    edge: bool


def compare_both(fixed: Placed, moving: Placed, resolution: Resolution) -> BothWays:
    """Average both images over cells, and draw samples of each that the other is read at."""
    one, other = (_Cells.of(placed, resolution.cell_mm) for placed in (fixed, moving))
    return BothWays(_compare(one, other, resolution), _compare(other, one, resolution))


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """An image and its foreground, a share, averaged over cells."""

    values: NDArray[np.float32]
    share: NDArray[np.float32]
    to_mm: NDArray[np.float64]

    @classmethod
    def of(cls, placed: Placed, cell_mm: float) -> _Cells:
        spacing = np.linalg.norm(placed.to_mm[:3, :3], axis=0)
        shape = placed.image.values.shape
        factors = [
            1 if n == 1 else max(1, min(n, round(cell_mm / s))) for n, s in zip(shape, spacing, strict=True)
        ]
        to_mm = placed.to_mm.copy()
        to_mm[:3, :3] = placed.to_mm[:3, :3] * factors
        to_mm[:3, 3] += placed.to_mm[:3, :3] @ ((np.array(factors) - 1) / 2)

        def average(array: NDArray[np.generic]) -> NDArray[np.float32]:
            volume = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
            averaged: NDArray[np.float32] = pool(volume.unsqueeze(0), factors)[0].contiguous().numpy()
            return averaged

        return cls(average(placed.image.values), average(placed.image.foreground), to_mm)


def _compare(sampled: _Cells, read: _Cells, resolution: Resolution) -> Comparison:
    if resolution.edge:
        counts = ndimage.binary_dilation(sampled.share > 0, iterations=_EDGE_CELLS)
    else:
        counts = sampled.share > 0.5
    candidates = np.argwhere(counts)
    body_mm3 = len(candidates) * abs(np.linalg.det(sampled.to_mm[:3, :3]))
    seen_mm3 = read.values.size * abs(np.linalg.det(read.to_mm[:3, :3]))
    rng = np.random.default_rng(_SEED)
    if len(candidates) > resolution.samples:
        candidates = candidates[np.sort(rng.choice(len(candidates), resolution.samples, replace=False))]
    # Off the grid: where two grids fall together nothing is blurred, which alone would look like agreement.
    index = candidates + rng.uniform(-0.5, 0.5, candidates.shape)
    drawn = ndimage.map_coordinates(sampled.values, index.T, order=1, mode="nearest")
    points = index @ sampled.to_mm[:3, :3].T + sampled.to_mm[:3, 3]
    bins = resolution.bins
    return Comparison(
        points.astype(np.float32),
        _in_bins(drawn, drawn, 0.0, bins - 1.001),
        _in_bins(read.values, read.values[read.share > 0], 1.0, bins - 2.001),
        inverse(read.to_mm),
        bins,
        min(1.0, seen_mm3 / max(body_mm3, 1e-9)),
    )


def _in_bins(
    values: NDArray[np.float32], counted: NDArray[np.float32], low: float, high: float
) -> NDArray[np.float32]:
    """Spread values over bins by the range of those that are counted."""
    bottom, top = np.percentile(counted, _TAILS) if counted.size else (0.0, 1.0)
    scaled = (values - bottom) / max(float(top - bottom), 1e-9)
    return np.asarray(low + (high - low) * np.clip(scaled, 0, 1), dtype=np.float32)
