"""Distances of one image to itself, turned and moved (fig. 3 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.source import Guide
from dinoreg.optimise.data_term import warp_linear
from dinoreg.optimise.guidance import Distance, feature_distance
from dinoreg.optimise.similarity import ncc
from dinoreg.space.coords import identity_positions
from guidance.canvas import Guides, save, slice_of
from regtask.dataset import Dataset

# Steps of the paper: pi / 32 up to 90 degrees; 1.2 mm of 1.8 mm pixels, up to 57.6 mm.
DEGREES = np.linspace(-90, 90, 33)
PIXELS = np.linspace(-32, 32, 97)


def draw_curves(dataset: Dataset, guides: Guides, picture: Path) -> dict[str, Any]:
    """Draw the distance of an image to itself, turned and moved, against angle and shift.

    What lies outside the image repeats its border. Features are scaled to [0, 1] by the extremes of both maps
    together, as in the paper. Returns, per curve, how far its minimum at 0 reaches and how many local minima
    it has.
    """
    image = slice_of(dataset.pairs()[0].fixed)
    motions = {
        "rotation (degrees)": (DEGREES, lambda angle: _rotation(image.shape[1:], angle)),
        "translation (pixels)": (PIXELS, lambda shift: _translation(image.shape[1:], shift)),
    }
    distances: dict[str, Callable[[Tensor], float]] = {"NCC": lambda warped: float(ncc(image)(warped, None))}
    for name, encode in guides.items():
        for kind in get_args(Distance):
            distances[f"{name} {kind}"] = _distance_to(image, encode, kind)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    numbers: dict[str, Any] = {}
    for axis, (title, (steps, motion)) in zip(axes, motions.items(), strict=True):
        for name, distance in distances.items():
            with torch.no_grad():
                curve = np.array([distance(warp_linear(image, motion(step))) for step in steps])
            axis.plot(steps, curve / curve.max(), label=name, linestyle="--" if "l1" in name else "-")
            numbers.setdefault(name, {})[title] = describe_curve(steps, curve)
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("distance / its maximum")
    axes[1].legend()
    save(figure, picture)
    return numbers


def describe_curve(steps: NDArray[np.float64], curve: NDArray[np.float64]) -> dict[str, float]:
    """Return where a curve is smallest, how far it rises without a break from 0, and its local minima."""
    zero = int(np.abs(steps).argmin())
    reach = []
    for side in (curve[zero:], curve[zero::-1]):
        falls = np.flatnonzero(np.diff(side) < 0)
        reach.append(int(falls[0]) if falls.size else len(side) - 1)
    inner = curve[1:-1]
    return {
        "minimum_at": float(steps[curve.argmin()]),
        "capture_range": round(float(min(reach) * (steps[1] - steps[0])), 3),
        "local_minima": int(((inner < curve[:-2]) & (inner < curve[2:])).sum()),
    }


def _distance_to(image: Tensor, encode: Guide, kind: Distance) -> Callable[[Tensor], float]:
    with torch.no_grad():
        fixed = encode(image)

    def distance(warped: Tensor) -> float:
        features = encode(warped)
        low = torch.minimum(fixed.min(), features.min())
        extent = torch.maximum(fixed.max(), features.max()) - low
        return float(feature_distance((fixed - low) / extent, kind)((features - low) / extent, None))

    return distance


def _rotation(shape: tuple[int, ...], degrees: float) -> Tensor:
    """Displacement of a rotation about the centre, (2, I, J) pixels."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = torch.tensor([(n - 1) / 2 for n in shape]).view(2, 1, 1)
    lever = identity_positions(shape) - centre
    return torch.einsum("ab,bij->aij", turn, lever) - lever


def _translation(shape: tuple[int, ...], pixels: float) -> Tensor:
    return torch.tensor([pixels, 0.0]).view(2, 1, 1).expand(2, *shape)
