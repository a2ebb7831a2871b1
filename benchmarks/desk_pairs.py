"""Pairs of whole scans on grids of their own, for bench_desk.py; most are made by a map that is known.

The moving scan of a made pair is the fixed one, or another contrast of the same head, as another scanner
might have seen it on another day: breathed in, turned and shifted, on an oblique grid of other voxels and
another orientation, over another field of view, with noise. All lengths are millimetres in RAS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dinoreg.preprocess.foreground import threshold_foreground
from regtask.grid import Grid

Points = NDArray[np.float64]
_POINTS = 500
_BUMPS, _SHIFT_MM, _DEGREES = 12, (6.0, -7.0, 5.0), (3.0, -2.0, 4.0)
_INVERSIONS = 60
_SLAB = 4  # slices that are made at a time: coordinates take many times the memory of an image
# Liver, kidneys and spleen, as CHAOS numbers them and as TotalSegmentator does.
_ORGANS = {1: 5, 2: 2, 3: 3, 4: 1}


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Values on a grid."""

    values: NDArray[np.generic]
    grid: Grid

    @classmethod
    def read(cls, path: Path) -> Volume:
        """Read a NIfTI file as float32."""
        image = nib.load(path)
        return cls(np.asarray(image.dataobj, dtype=np.float32), Grid(image.shape, image.affine))

    def write(self, path: Path) -> None:
        """Write a NIfTI file."""
        nib.save(nib.Nifti1Image(self.values, self.grid.affine), path)


@dataclass(frozen=True, slots=True, eq=False)
class DeskPair:
    """Two scans, and what is known of them.

    Attributes:
        group: which line of the table it belongs to.
        name: within the group.
        fixed: the fixed scan.
        moving: the moving scan.
        labels: of fixed and of moving, the same numbers; or None.
        landmarks: (N, 3) points of fixed and (N, 3) where they belong in moving; or None.
    """

    group: str
    name: str
    fixed: Volume
    moving: Volume
    labels: tuple[Volume, Volume] | None = None
    landmarks: tuple[Points, Points] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KnownMap:
    """A map from points of moving to points of fixed: a smooth displacement, then a small turn.

    Attributes:
        centres: (B, 3) of Gaussian bumps.
        pushes: (B, 3) at their tops.
        widths: (B, 3), their standard deviations along R, A and S.
        turn: (3, 3).
        about: (3,) centre of the turn.
        shift: (3,) of that centre.
    """

    centres: Points
    pushes: Points
    widths: Points
    turn: Points
    about: Points
    shift: Points

    def __call__(self, points: Points) -> Points:
        """Return where points of moving, (N, 3), lie in fixed."""
        return np.asarray(
            (points + self._pushed(points) - self.about) @ self.turn.T + self.about + self.shift
        )

    def back(self, points: Points) -> Points:
        """Return where points of fixed, (N, 3), lie in moving."""
        straight = (points - self.shift - self.about) @ self.turn + self.about
        found = straight
        for _ in range(_INVERSIONS):
            found = straight - self._pushed(found)
        assert np.abs(self(found) - points).max() < 1e-6, "the displacement is too steep to be inverted"
        return found

    def _pushed(self, points: Points) -> Points:
        pushed = np.zeros_like(points)
        for centre, push, width in zip(self.centres, self.pushes, self.widths, strict=True):
            pushed += np.exp(-0.5 * (((points - centre) / width) ** 2).sum(axis=1))[:, None] * push
        return pushed


def desk_pairs(native: Path, *, large: bool = True) -> Iterator[DeskPair]:
    """Yield every pair, the small ones first and, where it is wanted, a large one at the end."""
    thorax, abdomen = (
        Volume.read(native / f"ct_{name}.nii.gz") for name in ("thorax_crop_1p5mm", "abdomen_3mm")
    )
    organs = Volume.read(native / "ct_abdomen_3mm_labels.nii.gz")
    for seed in range(2):
        yield made("thorax CT", str(seed), thorax, thorax, seed, breath_mm=9.0, spacing=(1.2, 1.8, 2.5))
        yield made(
            "abdomen CT",
            str(seed),
            abdomen,
            abdomen,
            seed,
            breath_mm=18.0,
            spacing=(2.2, 2.6, 4.0),
            labels=organs,
        )
    t2, drawn = (Volume.read(native / f"mr_abdomen_t2{end}.nii.gz") for end in ("", "_labels"))
    of_mr, of_ct = four_organs(drawn, organs)
    yield DeskPair("MR and CT of two people", "MR fixed", t2, abdomen, (of_mr, of_ct))
    yield DeskPair("MR and CT of two people", "CT fixed", abdomen, t2, (of_ct, of_mr))
    for seed, (fixed, moving) in enumerate((("T1pre", "FLAIR"), ("T2", "T1post"), ("FLAIR", "T1pre"))):
        here, there = (Volume.read(native / f"brain_{name}.nii.gz") for name in (fixed, moving))
        yield made(
            "brain MR", f"{fixed}, {moving}", here, there, seed, breath_mm=0.0, spacing=(1.0, 1.0, 5.0)
        )
    if not large:
        return
    fine = Grid(
        (512, 512, 120), framed(abdomen.grid, (0.8, 0.8, 2.5), (512, 512, 120), np.diag((-1.0, -1.0, 1.0)))
    )
    whole = Volume(sampled(abdomen, fine, lambda points: points), fine)
    yield made(
        "512 x 512 x 120 CT",
        "0",
        whole,
        abdomen,
        5,
        breath_mm=18.0,
        spacing=(0.8, 0.8, 2.5),
        shape=fine.shape,
    )


def made(
    group: str,
    name: str,
    fixed: Volume,
    source: Volume,
    seed: int,
    *,
    breath_mm: float,
    spacing: tuple[float, float, float],
    labels: Volume | None = None,
    shape: tuple[int, ...] | None = None,
) -> DeskPair:
    """Make a moving scan from what lies where fixed does.

    Args:
        group: of the pair.
        name: of the pair.
        fixed: the fixed scan.
        source: the content of moving, in the scanner space of fixed.
        seed: of the map, the noise and the landmarks.
        breath_mm: how far the upper part of the body goes down.
        spacing: of moving, along its array axes.
        labels: of fixed.
        shape: of moving; by default so many voxels as cover nine tenths of fixed.
    """
    rng = np.random.default_rng(seed)
    low, high = (
        source.grid.index_to_ras([(0, 0, 0)])[0],
        source.grid.index_to_ras([np.subtract(source.grid.shape, 1)])[0],
    )
    low, high = np.minimum(low, high), np.maximum(low, high)
    size = high - low
    known = breathing(low, size, breath_mm, rng)
    # Another order and other directions of the axes, and a few degrees off them.
    axes = np.eye(3)[:, [1, 0, 2] if seed % 2 else [0, 1, 2]] * (1.0, -1.0, -1.0)
    oblique = Rotation.from_euler("xyz", rng.uniform(-6, 6, 3), degrees=True).as_matrix() @ axes
    covered = np.abs(axes).T @ size * 0.9
    shape = shape or tuple(int(n) for n in np.ceil(covered / spacing))
    grid = Grid(shape, framed(source.grid, spacing, shape, oblique))
    values = sampled(source, grid, known)
    spread = np.percentile(source.values, 99) - np.percentile(source.values, 1)
    values = values + rng.normal(0, 0.01 * float(spread), values.shape).astype(np.float32)
    moved = None
    if labels is not None:
        moved = labels, Volume(sampled(labels, grid, known, order=0).astype(np.int16), grid)
    body = threshold_foreground(fixed.values, "ct" if float(fixed.values.min()) < -200 else "mr")
    inside = np.argwhere(body)
    points = fixed.grid.index_to_ras(
        rng.choice(inside, 2 * _POINTS, replace=False) + rng.uniform(-0.5, 0.5, (2 * _POINTS, 3))
    )
    leads = known.back(points)
    at = grid.ras_to_index(leads)
    seen = ((at >= 0) & (at <= np.subtract(grid.shape, 1))).all(axis=1)
    chosen = np.flatnonzero(seen)[:_POINTS]
    return DeskPair(group, name, fixed, Volume(values, grid), moved, (points[chosen], leads[chosen]))


def breathing(low: Points, size: Points, breath_mm: float, rng: np.random.Generator) -> KnownMap:
    """Return a map: the diaphragm goes down, the front goes forward, and all else bends a little.

    Args:
        low: (3,) least corner of the scan.
        size: (3,) of the scan.
        breath_mm: how far the diaphragm goes down.
        rng: where bumps are and how far the whole is turned.
    """
    dome = low + size * (0.5, 0.55, 0.75)
    front = low + size * (0.5, 0.8, 0.6)
    centres = np.concatenate([[dome, front], low + size * rng.uniform(0.1, 0.9, (_BUMPS, 3))])
    bend = 0.012 * size.max()
    pushes = np.concatenate(
        [[(0, 0, breath_mm), (0, -0.35 * breath_mm, 0)], rng.normal(0, bend, (_BUMPS, 3))]
    )
    width = np.tile(0.16 * size.max(), (len(centres), 3))
    width[:2] = size * (0.3, 0.3, 0.22)
    turn = Rotation.from_euler("xyz", rng.choice((-1, 1), 3) * _DEGREES, degrees=True).as_matrix()
    return KnownMap(centres, pushes, width, turn, low + size / 2, rng.choice((-1, 1), 3) * _SHIFT_MM)


def framed(
    around: Grid, spacing: tuple[float, float, float], shape: tuple[int, ...], directions: Points
) -> NDArray[np.float64]:
    """Return the affine of a grid with its centre at that of another, its axes along given directions."""
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    middle = around.index_to_ras([np.subtract(around.shape, 1) / 2])[0]
    affine[:3, 3] = middle - affine[:3, :3] @ (np.subtract(shape, 1) / 2)
    return affine


def sampled(source: Volume, grid: Grid, lead, *, order: int = 1) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]
    """Read a volume on a grid through a map from points of the grid to points of the volume."""
    lowest = 0.0 if order == 0 else float(source.values.min())
    out = np.empty(grid.shape, dtype=np.float32)
    for first in range(0, grid.shape[2], _SLAB):
        part = (*grid.shape[:2], min(_SLAB, grid.shape[2] - first))
        index = np.indices(part).reshape(3, -1).T + np.array((0, 0, first))
        at = source.grid.ras_to_index(lead(grid.index_to_ras(index)))
        read = ndimage.map_coordinates(source.values, at.T, order=order, cval=lowest)
        out[:, :, first : first + part[2]] = read.reshape(part)
    return out


def four_organs(chaos: Volume, total: Volume) -> tuple[Volume, Volume]:
    """Return two label maps with the organs that both have, numbered as in the first one."""
    renamed = np.zeros(total.values.shape, dtype=np.int16)
    for ours, theirs in _ORGANS.items():
        renamed[total.values == theirs] = ours
    kept = np.where(np.isin(chaos.values, list(_ORGANS)), chaos.values, 0).astype(np.int16)
    return Volume(kept, chaos.grid), Volume(renamed, total.grid)
