"""How participants spoil right fields, written independently of the corrections that the check tries."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

Spoil = Callable[[np.ndarray, tuple[float, ...]], np.ndarray]


def _identity_included(field: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    positions = field.copy()
    for axis, size in enumerate(field.shape[:3]):
        shape = [1, 1, 1]
        shape[axis] = size
        positions[..., axis] += np.arange(size).reshape(shape)
    return positions


def _in_mm(field: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return np.stack([field[..., axis] * spacing_mm[axis] for axis in range(3)], axis=-1)


def _rolled(field: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    i, j, k = np.moveaxis(field, -1, 0)
    return np.stack([k, i, j], axis=-1)


SPOILED: Mapping[str, Spoil] = MappingProxyType(
    {
        "identity included": _identity_included,
        "millimetres instead of voxels": _in_mm,
        "sign swapped": lambda field, spacing_mm: -field,
        "values of a grid of half resolution": lambda field, spacing_mm: field / 2,
        "components in reversed axis order (k, j, i)": lambda field, spacing_mm: np.flip(field, -1),
        "components in another axis order (k, i, j)": _rolled,
    }
)
