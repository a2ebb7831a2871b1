"""Point sets split in columns, with their bounding box, so that shapes far away can be skipped."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PointSet:
    """N positions in patient RAS millimetres (+x right, +y anterior, +z superior).

    Attributes:
        x: (N,) mm.
        y: (N,) mm.
        z: (N,) mm.
        lower: mm, smallest coordinate on each axis.
        upper: mm, largest coordinate on each axis.
        memo: values already computed at these points, by name; see `remember`.
    """

    x: Floats
    y: Floats
    z: Floats
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    memo: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def from_array(cls, points_mm: Floats) -> Self:
        """Split an (N, 3) array, N >= 1, of RAS millimetres.

        Raises:
            ValueError: the array is empty or not (N, 3).
        """
        points_mm = np.asarray(points_mm, dtype=np.float64)
        if points_mm.ndim != 2 or points_mm.shape[1] != 3 or len(points_mm) == 0:
            raise ValueError(f"points_mm: expected shape (N, 3) with N >= 1, got {points_mm.shape}")
        columns = np.ascontiguousarray(points_mm.T)
        lower, upper = columns.min(axis=1), columns.max(axis=1)
        return cls(columns[0], columns[1], columns[2], tuple(lower.tolist()), tuple(upper.tolist()))

    def __len__(self) -> int:
        return len(self.x)

    def remember(self, name: str, compute: Callable[[], Floats]) -> Floats:
        """Return a level (N,) that several organs share, computed on first use; do not write into it."""
        if name not in self.memo:
            self.memo[name] = compute()
        return self.memo[name]
