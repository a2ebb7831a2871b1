"""Pairs that nobody should believe a registration of, made from right ones while the headers say nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dinoreg.preprocess.pair import ImagePair, Scan

Change = Callable[[NDArray[Any]], NDArray[Any]]


def mirrored(images: ImagePair, axis: int) -> ImagePair:
    """Flip moving along an array axis."""
    return _moving_changed(images, lambda values: np.flip(values, axis).copy())


def turned(images: ImagePair) -> ImagePair:
    """Turn moving by a right angle in the plane of its first two axes."""

    def quarter(values: NDArray[Any]) -> NDArray[Any]:
        numbers = values.astype(np.float32)
        lowest = float(numbers.min())
        return ndimage.rotate(numbers, 90, axes=(0, 1), reshape=False, order=0, cval=lowest).astype(
            values.dtype
        )

    return _moving_changed(images, quarter)


def another_body(images: ImagePair, other: Scan) -> ImagePair:
    """Put a scan of something else in the place of moving, true to scale, centre upon centre."""
    grid = images.fixed.grid
    scale = np.divide(grid.spacing_mm, other.grid.spacing_mm)
    middle, other_middle = (np.subtract(shape, 1) / 2 for shape in (grid.shape, other.values.shape))

    def resampled(values: NDArray[Any], order: int) -> NDArray[Any]:
        return ndimage.affine_transform(
            values.astype(np.float32),
            np.diag(scale),
            other_middle - scale * middle,
            output_shape=grid.shape,
            order=order,
            cval=float(values.min()),
        )

    mask = None if other.mask is None else resampled(other.mask, 0) > 0.5
    return replace(
        images, moving=replace(other, values=resampled(other.values, 1), grid=grid, mask=mask, invalid=None)
    )


def shifted(values: NDArray[Any], cells: int) -> NDArray[Any]:
    """Move an array along its last axis by so many cells; what enters is its lowest value."""
    out = np.full_like(values, values.min())
    out[:, :, cells:] = values[:, :, :-cells]
    return out


def _moving_changed(images: ImagePair, change: Change) -> ImagePair:
    moving = images.moving
    mask = None if moving.mask is None else change(moving.mask)
    return replace(images, moving=replace(moving, values=change(moving.values), mask=mask))
