"""Structures drawn on moving, brought to the slices of fixed.

Each structure becomes shares of voxels on the slices it was drawn on, these are read through the transform,
linearly, and the line of one half is the new contour: finer than a voxel, and holes stay holes.
"""

from __future__ import annotations

import logging

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from dinoreg.desk.dicom.coverage import coverage, outlines
from dinoreg.desk.dicom.structures import Roi, Structures
from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.space.sampling import sample_linear
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.physical import from_voxels, lps_to_voxels, to_voxels

log = logging.getLogger(__name__)

_OFF_SLICE = 0.1  # of the way between two slices
Contours = dict[int, list[tuple[int, NDArray[np.float64]]]]


def carry_structures(
    structures: Structures, moving: Grid, fixed: Grid, transform: sitk.Transform
) -> Contours:
    """Return the contours of each structure on the slices of fixed.

    Args:
        structures: drawn on moving.
        moving: grid whose third axis counts the slices that they were drawn on.
        fixed: grid whose third axis counts the slices that contours are wanted on.
        transform: from fixed to moving.

    Returns:
        Number of a structure -> (slice, (N, 3) LPS mm) of each contour.

    Raises:
        DataError: contours do not lie on slices of moving, or no structure comes to lie inside fixed.
    """
    index = np.moveaxis(np.indices(fixed.shape, dtype=np.float32), 0, -1)
    read_at = index + lps_to_voxels(displacement_on(transform, fixed), fixed, moving)
    found: Contours = {roi.number: _carried(roi, moving, fixed, read_at) for roi in structures.rois}
    if not any(found.values()):
        raise DataError(Fault("no structure comes to lie inside fixed", "structure set"))
    for roi in structures.rois:
        if roi.contours and not found[roi.number]:
            log.warning("%s: nothing of it comes to lie inside fixed; it stays without contours", roi.name)
    return found


def _carried(
    roi: Roi, moving: Grid, fixed: Grid, read_at: NDArray[np.float32]
) -> list[tuple[int, NDArray[np.float64]]]:
    if not roi.contours:
        return []
    shares, first = _shares(roi, moving)
    local = read_at - first.astype(np.float32)
    near = np.asarray(((local > 0) & (local < np.array(shares.shape) - 1)).all(axis=-1), np.bool_)
    if not near.any():
        return []
    window = tuple(
        slice(int(rows.min()), int(rows.max()) + 1)
        for rows in (np.flatnonzero(near.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    )
    at = torch.from_numpy(np.moveaxis(local[window], -1, 0).copy())
    here = sample_linear(torch.from_numpy(shares)[None], at)[0].numpy()
    begin = np.array([part.start for part in window], np.float64)
    return [
        (int(begin[2]) + k, _lps(line + begin[:2], begin[2] + k, fixed))
        for k in range(here.shape[2])
        for line in outlines(here[:, :, k])
    ]


def _lps(line: NDArray[np.float64], slice_: float, fixed: Grid) -> NDArray[np.float64]:
    return from_voxels(np.column_stack([line, np.full(len(line), slice_)]), fixed, "lps")


def _shares(roi: Roi, moving: Grid) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the shares of voxels inside a structure, within a box with an empty rim, and its first voxel."""
    drawn = [to_voxels(points, moving, "lps") for points in roi.contours]
    slices = [float(points[:, 2].mean()) for points in drawn]
    off = max(
        max(abs(slice_ - round(slice_)), float(np.abs(points[:, 2] - slice_).max()))
        for slice_, points in zip(slices, drawn, strict=True)
    )
    if off > _OFF_SLICE:
        raise DataError(
            Fault(
                "contours off the slices of moving",
                roi.name,
                "contours on its slices",
                f"up to {off:.2f} of a slice beside them",
                "name the image that it was drawn on with --moving",
            )
        )
    every = np.concatenate(drawn)
    first = np.floor(every.min(axis=0)).astype(np.int64) - 1
    size = np.ceil(every.max(axis=0)).astype(np.int64) + 2 - first
    shares = np.zeros(size, np.float32)
    by_slice: dict[int, list[NDArray[np.float64]]] = {}
    for slice_, points in zip(slices, drawn, strict=True):
        by_slice.setdefault(round(slice_), []).append(points[:, :2] - first[:2])
    for number, flat in by_slice.items():
        shares[:, :, number - first[2]] = coverage(flat, (int(size[0]), int(size[1])))
    span = max(by_slice) - min(by_slice) + 1
    if len(by_slice) < span:
        log.warning("%s: drawn on %d of %d slices; the gaps stay empty", roi.name, len(by_slice), span)
    return shares, first
