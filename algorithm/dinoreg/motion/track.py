"""Tracking of a sequence: landmarks and a transform per frame, and the template's labels carried along."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.cines.thresholds import Thresholds, judge
from dinoreg.motion.cines.window import Square, sample_frames, window_points
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.network.sampling import Prepared, prepare
from dinoreg.motion.rigid_search import Found, RigidSearch, apply_rigid
from dinoreg.motion.settings import MotionConfig
from dinoreg.motion.transforms import Transform, TransformKind, solve
from dinoreg.space.coords import identity_positions
from dinoreg.space.sampling import sample_linear
from dinoreg.warp.apply import warp_labels

_CORNERS = ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """What was found in one frame.

    Attributes:
        number: of the frame.
        landmarks_mm: (N, 2), from the centre of pixel (0, 0).
        transform: frame to template, mm.
        residual_mm: root mean square that an affine fit leaves between the landmarks of frame and template.
        difference: root mean squared difference of the frame and the template warped onto it, in the window;
            intensities in [0, 1].
        flag: what is beyond its limit: "", "landmarks", "image", or both; judged after the rigid search.
        turned_degrees: by the rigid search; 0 where there was none, or it was not heeded.
        milliseconds: from the frame to the warped labels.
        labels: (X, Y), the template's labels on the frame; None where the template has none.
    """

    number: int
    landmarks_mm: Tensor
    transform: Transform
    residual_mm: float
    difference: float
    flag: str
    turned_degrees: float
    milliseconds: float
    labels: NDArray[np.integer] | None


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A tracked sequence.

    Attributes:
        frames: one per frame, in order.
        template: number of the template.
        square: the window.
        transform: kind of the transforms.
    """

    frames: tuple[TrackedFrame, ...]
    template: int
    square: Square
    transform: TransformKind


@torch.no_grad()
def track(net: LandmarkNet, config: MotionConfig, limits: Thresholds, sequence: LabelledCine) -> Track:
    """Track the template of a sequence through all its frames, one by one.

    A frame is judged by itself and the template alone; no later frame is looked at.

    Args:
        net: trained, in evaluation mode.
        config: of the network; its transform may differ from the one in training.
        limits: beyond which a frame is flagged.
        sequence: frames, template and, where there are any, its labels.

    Raises:
        DataError: the window follows the target, and the template has none.
    """
    prepared = prepare(sequence, config)
    window = _window(prepared, prepared.template, net)
    landmarks = net(window)
    labels = sequence.labels.get(sequence.template)
    search = _search(prepared, config)
    found = []
    for number in range(len(prepared.frames)):
        begin = time.perf_counter()
        first = search(prepared.frames[number : number + 1])
        own_window = _aligned(prepared, number, first.matrix, net)
        aligned = net(own_window)
        own = apply_rigid(first.matrix.to(aligned), aligned)
        transform = transform_mm(config, prepared.square, own, landmarks)
        warped = None
        if labels is not None:
            warped = carry_labels(labels, transform, prepared.square, first.matrix)
        milliseconds = 1000 * (time.perf_counter() - begin)
        fit = judge(config, own_window, aligned, window, landmarks)
        found.append(
            TrackedFrame(
                number=number,
                landmarks_mm=prepared.square.to_mm(own[0]).cpu(),
                transform=transform,
                residual_mm=float(fit.residual) * prepared.square.half_mm,
                difference=float(fit.difference),
                flag=fit.flagged(limits)[0],
                turned_degrees=first.degrees,
                milliseconds=milliseconds,
                labels=warped,
            )
        )
    return Track(tuple(found), prepared.template, prepared.square, config.landmarks.transform)


def carry_labels(
    labels: NDArray[np.integer], transform: Transform, square: Square, matrix: Tensor
) -> NDArray[np.integer]:
    """Read the template's labels (X, Y) at the places of a frame's pixels; 0 beyond the window.

    There the landmarks say nothing, and most of a frame's pixels lie there.

    Args:
        labels: of the template.
        transform: frame to template, mm.
        square: the window.
        matrix: (2, 3), where the rigid search has put it in the frame.
    """
    shape = labels.shape
    corners = square.to_voxels(apply_rigid(matrix, torch.tensor(_CORNERS)))
    low, high = corners.amin(dim=0).tolist(), corners.amax(dim=0).tolist()
    box = tuple(
        slice(max(0, math.ceil(first)), max(0, min(n, math.floor(last) + 1)))
        for first, last, n in zip(low, high, shape, strict=True)
    )
    pixels = identity_positions(shape)[(slice(None), *box)]
    carried = np.zeros_like(labels)
    carried[box] = warp_labels(labels, _mapped(transform, pixels, square))
    return carried


def transform_mm(config: MotionConfig, square: Square, source: Tensor, target: Tensor) -> Transform:
    """Return the transform between landmarks (1, N, 2) of the window, solved in mm.

    Lambda grows with the square of the unit: the spline is then the very one of the window's coordinates.
    """
    return solve(
        config.landmarks.transform,
        square.to_mm(source).cpu(),
        square.to_mm(target).cpu(),
        smoothing=config.landmarks.smoothing * square.half_mm**2,
    )


def pull_positions(transform: Transform, shape: tuple[int, ...], square: Square) -> Tensor:
    """Return where each pixel of a frame is read, (2, X, Y) voxels, by a transform in mm."""
    return _mapped(transform, identity_positions(shape), square)


def warp_to_template(
    track: Track, frame: TrackedFrame, image: NDArray[np.float32], smoothing: float
) -> NDArray[np.float32]:
    """Read a frame (X, Y) at the places of the template's pixels: the frame without its motion.

    Args:
        track: the sequence.
        frame: which frame.
        image: its intensities.
        smoothing: lambda in the window's coordinates.
    """
    template = track.frames[track.template].landmarks_mm
    back = solve(
        track.transform,
        template[None],
        frame.landmarks_mm[None],
        smoothing=smoothing * track.square.half_mm**2,
    )
    positions = pull_positions(back, image.shape, track.square)
    warped: NDArray[np.float32] = sample_linear(torch.from_numpy(image)[None], positions)[0].numpy()
    return warped


def _mapped(transform: Transform, pixels: Tensor, square: Square) -> Tensor:
    """Map voxels (2, *S) by a transform in mm."""
    spacing = torch.tensor(square.spacing_mm)
    mapped = transform.apply((pixels.flatten(1).T * spacing)[None])[0] / spacing
    return mapped.T.reshape(pixels.shape)


def _search(prepared: Prepared, config: MotionConfig) -> Callable[[Tensor], Found]:
    if config.search.rotation_degrees == 0:
        return lambda frame: Found(torch.eye(2, 3), 0.0, math.nan)
    template = prepared.frames[prepared.template][None]
    return RigidSearch(template, prepared.square, config.search)


def _window(prepared: Prepared, number: int, net: LandmarkNet) -> Tensor:
    return _aligned(prepared, number, torch.eye(2, 3), net)


def _aligned(prepared: Prepared, number: int, matrix: Tensor, net: LandmarkNet) -> Tensor:
    """The window (1, 1, S, S) of a frame, read at the places of a rigid map, on the network's device."""
    points = apply_rigid(matrix, window_points(prepared.square.pixels))
    window = sample_frames(prepared.frames[number : number + 1], prepared.square, points[None])
    return window.to(next(net.parameters()).device)
