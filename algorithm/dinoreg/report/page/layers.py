"""Several label maps, and several sets of points, as the one that a page draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Layered:
    """Label maps in one.

    Attributes:
        moving: (I', J', K').
        warped: (I, J, K).
        names: label -> map and number there; empty where there was one map only, whose labels are kept.
    """

    moving: Labels
    warped: Labels
    names: Mapping[int, str]


def in_layers(maps: Mapping[str, tuple[Labels, Labels]]) -> Layered | None:
    """Put label maps on top of one another: where they overlap the smaller structure is in front.

    Args:
        maps: name -> the map on the moving grid, and brought to the fixed one; labels are above 0.

    Returns:
        None where there is no map.
    """
    if not maps:
        return None
    if len(maps) == 1:
        return Layered(*next(iter(maps.values())), {})
    numbers: dict[int, str] = {}
    fronts: tuple[_Front, ...] = ()
    for name, pair in maps.items():
        fronts = fronts or tuple(_Front.empty(array.shape) for array in pair)
        labels, counts = np.unique(pair[0][pair[0] > 0], return_counts=True)
        if not len(labels):
            continue
        first = len(numbers) + 1
        numbers |= {first + n: f"{name} {label}" for n, label in enumerate(labels.tolist())}
        for front, array in zip(fronts, pair, strict=True):
            front.add(array, labels, counts, first)
    return Layered(fronts[0].labels, fronts[1].labels, numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _Front:
    """What is in front so far, and how large the structure is that it belongs to."""

    labels: Labels
    sizes: NDArray[np.int64]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> _Front:
        return cls(np.zeros(shape, np.int32), np.full(shape, np.iinfo(np.int64).max))

    def add(self, array: Labels, labels: Labels, counts: NDArray[np.int64], first: int) -> None:
        """Put a map in front where its structure is the smaller one; its labels are numbered from `first`."""
        at = np.minimum(np.searchsorted(labels, array), len(labels) - 1)
        nearer = (labels[at] == array) & (counts[at] < self.sizes)
        self.labels[nearer] = first + at[nearer]
        self.sizes[nearer] = counts[at[nearer]]


def point_names(sets: Mapping[str, Sequence[object] | NDArray[np.float64]]) -> tuple[str, ...]:
    """Name the points of several sets by set and number; one set alone needs no names."""
    if len(sets) < 2:
        return ()
    return tuple(f"{name} {n + 1}" for name, points in sets.items() for n in range(len(points)))
