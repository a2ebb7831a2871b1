"""A pair of views: one anatomy, two contrasts, two geometries, and points that correspond exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.pretrain.anatomy.labels import LabelVolume
from dinoreg.pretrain.settings import ViewSettings
from dinoreg.pretrain.views.geometry import ViewGeometry, draw_geometries, draw_voxel_mm, show_enough
from dinoreg.pretrain.views.render import RenderedView, draw_textures, read_labels, render_view

_CANDIDATES = 30_000  # voxels from which the points are drawn
_SLACK = 3.0  # voxels: organs of two patients lie a centimetre apart in their common frame


@dataclass(frozen=True, slots=True, eq=False)
class ViewPair:
    """Two views of one anatomy.

    Attributes:
        images: (2, S, S, S) in [0, 1].
        seen: (2, S, S, S) bool, body inside the field of view.
        points: (2, N, 3) voxels of either view; row n of both is the same place of the anatomy. N varies, and
            may be 0.
        slack: voxels by which the two places of a point may be off; 0 where both are of one patient.
    """

    images: Tensor
    seen: Tensor
    points: Tensor
    slack: float = 0.0


def draw_pair(
    volume: LabelVolume,
    settings: ViewSettings,
    rng: np.random.Generator,
    *,
    other: LabelVolume | None = None,
) -> ViewPair:
    """Draw two views, different in contrast, geometry, field of view and artefacts.

    Args:
        volume: seen in the first view.
        settings: of the views.
        rng: source of everything.
        other: seen in the second view in the frame of both; the points are places of the same structure. By
            default the second view shows `volume` too.
    """
    linear = _orientation(volume, settings, rng)
    for drawn in draw_geometries(linear, volume.ids.shape, settings, rng):
        geometry = drawn if other is None else replace(drawn, second=_across(drawn.second, volume, other))
        ids = read_labels(volume, geometry.first), read_labels(other or volume, geometry.second)
        if show_enough(ids[0] > 0, ids[1] > 0):
            break
    textures = draw_textures(rng)
    second_textures = textures if other is None else draw_textures(rng)
    fields = draw_field(settings, rng), draw_field(settings, rng)
    first = render_view(ids[0], volume.kinds, geometry.first, textures, fields[0], rng)
    second = render_view(ids[1], volume.kinds, geometry.second, second_textures, fields[1], rng)
    pair = assemble(first, second, geometry, ids[1], settings, rng)
    if other is None:
        return pair
    one, two = pair.points.round().long().unbind()
    same = ids[0][tuple(one.T.numpy())] == ids[1][tuple(two.T.numpy())]
    return replace(pair, points=pair.points[:, torch.from_numpy(same)], slack=_SLACK)


def _across(positions: Tensor, volume: LabelVolume, other: LabelVolume) -> Tensor:
    """Turn positions in one anatomy, (3, *S) voxels, to those of another in the frame of both."""
    assert volume.frame is not None
    assert other.frame is not None
    scale = volume.frame[0] / other.frame[0]
    offset = (volume.frame[1] - other.frame[1]) / other.frame[0]
    factor, shift = (torch.from_numpy(v).float().view(3, 1, 1, 1) for v in (scale, offset))
    return positions * factor + shift


def assemble(
    first: RenderedView,
    second: RenderedView,
    geometry: ViewGeometry,
    ids: NDArray[np.uint8],
    settings: ViewSettings,
    rng: np.random.Generator,
) -> ViewPair:
    """Put two views together and draw their points.

    Args:
        first: view that `geometry.between` points into.
        second: view whose voxels the points are drawn from.
        geometry: of both.
        ids: (S, S, S), structures of the second view, among which the balanced points are shared out.
        settings: number of points.
        rng: source of the points.
    """
    points = _points(first.seen, second.seen, geometry.between, ids, settings, rng)
    return ViewPair(torch.stack([first.image, second.image]), torch.stack([first.seen, second.seen]), points)


def _points(
    first_seen: Tensor,
    second_seen: Tensor,
    between: Tensor,
    ids: NDArray[np.uint8],
    settings: ViewSettings,
    rng: np.random.Generator,
) -> Tensor:
    """Draw points seen in both views, (2, N, 3); a share of them with small structures as likely as large."""
    size = second_seen.shape[0]
    candidates = np.flatnonzero(second_seen.numpy())
    if candidates.size > _CANDIDATES:
        candidates = rng.choice(candidates, _CANDIDATES, replace=False)
    candidates = candidates[_visible(candidates, first_seen, between)[0]]
    count = min(settings.points // settings.clustered, candidates.size)
    if not count:
        return torch.zeros(2, 0, 3)
    own_ids = ids.ravel()[candidates]
    balanced = 1.0 / np.bincount(own_ids, minlength=256)[own_ids]
    chance = settings.balanced * balanced / balanced.sum() + (1 - settings.balanced) / candidates.size
    chosen = rng.choice(candidates, count, replace=False, p=chance / chance.sum())
    middles = np.stack(np.unravel_index(chosen, (size,) * 3), axis=-1)
    offsets = rng.uniform(-1, 1, size=(settings.clustered - 1, count, 3)) * settings.cluster_radius
    around = np.clip(np.rint(middles + offsets), 0, size - 1).astype(np.int64).reshape(-1, 3)
    points = np.unique(np.concatenate([middles, around]), axis=0)
    flat = np.ravel_multi_index(tuple(points.T), (size,) * 3)
    visible, in_first = _visible(flat, first_seen, between)
    visible &= second_seen.numpy().ravel()[flat]
    pairs = np.stack([in_first[:, visible].T, points[visible]]).astype(np.float32)
    return torch.from_numpy(pairs)


def _visible(
    voxels: NDArray[np.int64], first_seen: Tensor, between: Tensor
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Tell which voxels of the second view, flat indices (N,), the first one sees too; and where, (3, N)."""
    size = first_seen.shape[0]
    in_first = between.reshape(3, -1).numpy()[:, voxels]
    nearest = np.rint(in_first).astype(np.int64)
    inside = ((nearest >= 0) & (nearest < size)).all(axis=0)
    flat = np.ravel_multi_index(tuple(np.clip(nearest, 0, size - 1)), (size,) * 3)
    return inside & first_seen.numpy().ravel()[flat], in_first


def _orientation(
    volume: LabelVolume, settings: ViewSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Voxels of a view to voxels of the anatomy: scale and, where no axis is special, any order of axes."""
    if volume.oriented:
        return np.diag(draw_voxel_mm(settings, rng) / volume.spacing_mm)
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], size=(3, 1))
    # Bodies without a size of their own are shown whole or in part.
    whole = min(volume.ids.shape) / settings.size
    return np.asarray(axes * whole * float(np.exp(rng.uniform(np.log(0.45), np.log(1.1)))), np.float64)


def draw_field(settings: ViewSettings, rng: np.random.Generator) -> Tensor:
    """Draw a field of view, (S, S, S) bool: everything, less a piece along an axis, or a cylinder."""
    size = settings.size
    field = torch.ones(size, size, size, dtype=torch.bool)
    for axis in range(3):
        if rng.random() < settings.hidden_borders[axis]:
            cut = int(rng.uniform(*settings.hidden_share) * size)
            start = 0 if rng.random() < 0.5 else size - cut
            field.narrow(axis, start, cut).fill_(False)
    if rng.random() < 0.1:
        from_middle = torch.arange(size) - (size - 1) / 2
        radius = float(rng.uniform(0.35, 0.5)) * size
        field &= (from_middle.view(-1, 1, 1) ** 2 + from_middle.view(1, -1, 1) ** 2) < radius**2
    return field
