"""Where the voxels of two views lie in one anatomy, and in one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from dinoreg.pretrain.anatomy.noise import smooth_noise
from dinoreg.pretrain.settings import ViewSettings
from dinoreg.space.coords import identity_positions
from dinoreg.space.sampling import sample_linear

_ATTEMPTS = 4
_LEAST_WANDER = 0.06  # share of an anatomy by which the middle of a view wanders, however large the view
_LEAST_SEEN = 0.08  # share of a view that shows the body


@dataclass(frozen=True, slots=True, eq=False)
class ViewGeometry:
    """Positions of all voxels of two views.

    Attributes:
        first: (3, S, S, S), voxels of the anatomy that the voxels of the first view show.
        second: the same of the second view.
        between: (3, S, S, S), voxels of the first view that show what the voxels of the second one show.
    """

    first: Tensor
    second: Tensor
    between: Tensor


def draw_voxel_mm(settings: ViewSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the voxel of a view, (3,) mm along R, A and S; negative along an axis that is mirrored."""
    low, high = np.log(settings.voxel_mm)
    mirror = np.where(rng.random(3) < settings.mirrored, -1.0, 1.0)
    return float(np.exp(rng.uniform(low, high))) * mirror


def draw_geometries(
    linear: NDArray[np.float64], shape: Sequence[int], settings: ViewSettings, rng: np.random.Generator
) -> Iterator[ViewGeometry]:
    """Draw views of an anatomy anew, some times: whoever reads them stops where they `show_enough`.

    Args:
        linear: as for `draw_geometry`.
        shape: of the anatomy, voxels.
        settings: size and spread.
        rng: source of everything.
    """
    for _ in range(_ATTEMPTS):
        yield draw_geometry(linear, draw_centre(shape, linear, settings, rng), settings, rng)


def show_enough(*bodies: NDArray[np.bool_]) -> bool:
    """Tell from where views show the body, (S, S, S) each, whether every one shows enough of it."""
    return min(float(body.mean()) for body in bodies) >= _LEAST_SEEN


def draw_centre(
    shape: Sequence[int], linear: NDArray[np.float64], settings: ViewSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the middle of a view: about anywhere from which it shows no more air.

    Args:
        shape: of the anatomy, voxels.
        linear: (3, 3), voxels of a view to voxels of the anatomy.
        settings: size of the view.
        rng: source of the place.

    Returns:
        (3,) voxels of the anatomy.
    """
    sizes = np.array(shape)
    extent = settings.size * np.abs(linear).sum(axis=1)
    reach = np.maximum(_LEAST_WANDER * sizes, (sizes - extent) / 2)
    return np.asarray((sizes - 1) / 2 + rng.uniform(-1, 1, size=3) * reach, np.float64)


def draw_geometry(
    linear: NDArray[np.float64],
    centre: NDArray[np.float64],
    settings: ViewSettings,
    rng: np.random.Generator,
) -> ViewGeometry:
    """Draw two views: both turned, stretched and bent, the second one relative to the first.

    Args:
        linear: (3, 3), voxels of a view to voxels of the anatomy, before anything random.
        centre: (3,) voxels of the anatomy, shown in the middle of the first view.
        settings: size and spread.
        rng: source of everything.
    """
    grid = identity_positions((settings.size,) * 3)
    bend = _elastic(settings, rng)
    toward = torch.from_numpy(linear @ _random_linear(settings, rng)).float()
    own = torch.from_numpy(_random_linear(settings, rng)).float()
    shift = torch.from_numpy(rng.uniform(-1, 1, size=3) * np.array(settings.shift) * settings.size).float()
    middle = (settings.size - 1) / 2
    target = torch.from_numpy(np.asarray(centre)).float().view(3, 1, 1, 1)

    def anatomy_of(view: Tensor, bent: Tensor) -> Tensor:
        return torch.einsum("ab,bijk->aijk", toward, view - middle + bent) + target

    between = torch.einsum("ab,bijk->aijk", own, grid - middle) + (middle + shift.view(3, 1, 1, 1))
    between = between + _elastic(settings, rng)
    return ViewGeometry(anatomy_of(grid, bend), anatomy_of(between, sample_linear(bend, between)), between)


def _elastic(settings: ViewSettings, rng: np.random.Generator) -> Tensor:
    total = torch.zeros(3, *(settings.size,) * 3)
    for deviation, wavelength in zip(settings.elastic, settings.wavelength, strict=True):
        strength = deviation * rng.uniform(0.2, 1.0)
        total += strength * smooth_noise((settings.size,) * 3, wavelength, rng, channels=3)
    return total


def _random_linear(settings: ViewSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    angles = rng.uniform(-1, 1, size=3) * settings.rotation_degrees
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    whole = settings.scale ** rng.uniform(-1, 1)
    single = settings.stretch ** rng.uniform(-1, 1, size=3)
    linear: NDArray[np.float64] = turn @ np.diag(whole * single)
    return linear
