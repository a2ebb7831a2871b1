"""Folds that central differences overlook: digital diffeomorphisms and non-diffeomorphic volume.

A field moves the corners of the cubes between voxels. Each cube divides into five tetrahedra, a central one
and four at corners, in two ways. The map that is linear in each tetrahedron is one to one where all ten keep
their orientation (Liu et al., On Finite Difference Jacobian Computation in Deformable Image Registration,
Int. J. Comput. Vis. 132, 2024). Central differences see every other voxel only and miss folds that are finer.

Convention: pull fields, u in voxels of the fixed grid, component c along array axis c.
"""

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regeval.metrics.slabs import for_each_slab

_Vector = list[NDArray[np.float32]]
_X, _Y, _Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
# Edges from a voxel to three others of a cube, no two of the four neighbours; below and above the voxel.
# Both triples are right-handed with a determinant of 2: a central tetrahedron is a third of a cube.
_CENTRAL = (
    ((-1, -1, 0), (-1, 0, -1), (0, -1, -1)),
    ((1, 1, 0), (0, 1, 1), (1, 0, 1)),
)


@dataclass(frozen=True, slots=True, eq=False)
class DigitalFolds:
    """Where a field is not a digital diffeomorphism, in the voxels that have all neighbours.

    Attributes:
        folded: (I - 2, J - 2, K - 2), whether one of the ten tetrahedra of a voxel is flat or turned over.
        volume: (I - 2, J - 2, K - 2), volume of those turned over, in voxels; both divisions count half.
    """

    folded: NDArray[np.bool_]
    volume: NDArray[np.float32]

    @classmethod
    def of(cls, field: NDArray[np.floating], threads: int = 1) -> Self:
        """Examine a field.

        Args:
            field: (I, J, K, 3) voxels.
            threads: how many slabs are worked on at once; the result does not depend on it.

        Raises:
            ValueError: the field is not (I, J, K, 3), or an axis has fewer than three voxels.
        """
        if field.ndim != 4 or field.shape[3] != 3 or min(field.shape[:3]) < 3:
            raise ValueError(f"field: expected shape (I, J, K, 3), at least 3 voxels each, got {field.shape}")
        inner = (field.shape[0] - 2, field.shape[1] - 2, field.shape[2] - 2)
        folded, volume = np.empty(inner, np.bool_), np.empty(inner, np.float32)

        def work(start: int, stop: int) -> None:
            block = np.moveaxis(field[start : stop + 2], -1, 0).astype(np.float32, order="C")
            folded[start:stop], volume[start:stop] = _examine(block)

        for_each_slab(inner, work, threads)
        return cls(folded, volume)

    def within(self, mask: NDArray[np.bool_] | None) -> tuple[int, float, int]:
        """Return folded voxels, non-diffeomorphic volume in voxels, and the number of voxels judged.

        Args:
            mask: (I, J, K), the fixed voxels to judge; None judges all.
        """
        if mask is None:
            return (
                int(np.count_nonzero(self.folded)),
                float(self.volume.sum(dtype=np.float64)),
                self.folded.size,
            )
        inner = mask[1:-1, 1:-1, 1:-1]
        volume = float(self.volume.sum(dtype=np.float64, where=inner))
        return int(np.count_nonzero(self.folded & inner)), volume, int(np.count_nonzero(inner))


def _examine(u: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return `folded` and `volume` of a block (3, I, J, K) without its outermost voxels."""
    lowest = np.full([size - 2 for size in u.shape[1:]], np.inf, np.float32)
    turned = np.zeros_like(lowest)

    def add(determinant: NDArray[np.float32]) -> None:
        np.minimum(lowest, determinant, out=lowest)
        np.subtract(turned, np.minimum(determinant, 0), out=turned)

    forward = [_edge(u, (0, 0, 0), axis) for axis in (_X, _Y, _Z)]
    backward = [_edge(u, (-axis[0], -axis[1], -axis[2]), (0, 0, 0)) for axis in (_X, _Y, _Z)]
    sides = [(backward[axis], forward[axis]) for axis in range(3)]
    for along_x, along_y in itertools.product(sides[0], sides[1]):
        normal = _cross(along_x, along_y)
        for along_z in sides[2]:
            add(_dot(normal, along_z))
    for a, b, c in _CENTRAL:
        edges = [_edge(u, (0, 0, 0), end) for end in (a, b, c)]
        add(_dot(_cross(edges[0], edges[1]), edges[2]))
    # A determinant is six times the volume of its tetrahedron.
    folded: NDArray[np.bool_] = lowest <= 0
    return folded, turned / np.float32(12)


def _edge(u: NDArray[np.float32], start: tuple[int, int, int], end: tuple[int, int, int]) -> _Vector:
    """Return the vector between the new places of two voxels, given relative to each inner voxel."""
    at_start, at_end = (u[(slice(None), *_shifted(u.shape, offset))] for offset in (start, end))
    vector = [after - before for before, after in zip(at_start, at_end, strict=True)]
    for axis in range(3):
        if step := end[axis] - start[axis]:
            vector[axis] += np.float32(step)
    return vector


def _shifted(shape: tuple[int, ...], offset: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(1 + step, size - 1 + step) for step, size in zip(offset, shape[1:], strict=True))


def _cross(a: _Vector, b: _Vector) -> _Vector:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _dot(a: _Vector, b: _Vector) -> NDArray[np.float32]:
    product: NDArray[np.float32] = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product
