"""What a cone-beam scanner does to an image: streaks, cupping, rings, truncation."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.points import Floats

_VIEWS = 32
_BIN_MM = 2.5


def _plane_mm(lattice: Lattice) -> tuple[Floats, Floats]:
    """Return x and y from the rotation axis, each (I, J) mm; the axis is the middle of the lattice."""
    i, j = np.indices(lattice.shape[:2], dtype=np.float64)
    x = (i - (lattice.shape[0] - 1) / 2) * abs(lattice.affine[0, 0])
    y = (j - (lattice.shape[1] - 1) / 2) * abs(lattice.affine[1, 1])
    return x, y


def field_of_view(lattice: Lattice, radius_mm: float) -> NDArray[np.bool_]:
    """Return which voxels the scanner reconstructs, (I, J, K): a cylinder about the axis."""
    x, y = _plane_mm(lattice)
    seen: NDArray[np.bool_] = np.repeat((np.hypot(x, y) < radius_mm)[:, :, None], lattice.shape[2], axis=2)
    return seen


def streaks(hounsfield: NDArray[np.float32], body: NDArray[np.bool_], lattice: Lattice) -> Floats:
    """Spread the strong edges of bone and gas along few view directions, slice by slice.

    A sparse-view backprojection: each view's line sums lose their smooth part and are smeared back.

    Args:
        hounsfield: (I, J, K) HU.
        body: (I, J, K), where gas counts as gas in the body.
        lattice: of both.

    Returns:
        (I, J, K), standard deviation 1 inside the body.
    """
    bone = np.clip(hounsfield - 220, 0, 900) / 500
    gas = np.where(body & (hounsfield < -700), 0.35, 0.0)
    strong = (bone + gas).reshape(-1, lattice.shape[2])
    x, y = _plane_mm(lattice)
    bins = int(2 * np.hypot(x, y).max() / _BIN_MM) + 3
    total = np.zeros_like(strong)
    for angle in (np.arange(_VIEWS) + 0.37) * np.pi / _VIEWS:
        across = (x * np.cos(angle) + y * np.sin(angle)).ravel() / _BIN_MM + bins / 2
        low = np.floor(across).astype(np.intp)
        share = (across - low)[:, None]
        sums = np.zeros((bins, lattice.shape[2]))
        np.add.at(sums, low, strong * (1 - share))
        np.add.at(sums, low + 1, strong * share)
        sharp = sums - gaussian_filter1d(sums, 3.0, axis=0)
        total += sharp[low] * (1 - share) + sharp[low + 1] * share
    spread = total.reshape(lattice.shape)
    return spread / max(float(spread[body].std()), 1e-6)


def shading(lattice: Lattice, rng: np.random.Generator, radius_mm: float) -> Floats:
    """Return cupping and rings, (I, J, 1) HU: too low in the middle, ringed by uneven detector cells."""
    x, y = _plane_mm(lattice)
    distance = np.hypot(x, y) / radius_mm
    cup = 90 * (np.clip(distance, 0, 1) ** 2 - 0.6)
    cells = gaussian_filter1d(rng.normal(size=400), 1.5)
    rings = 30 * np.interp(distance * 60, np.arange(400) * 0.5, cells) * np.exp(-((distance / 0.7) ** 2))
    return (cup + rings)[:, :, None]
