"""Estimates of the motion between two windows: the tracker, with and without its rigid search, and others."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dinoreg.motion.cines.window import Square, warp_windows, window_points
from dinoreg.motion.network.model import LandmarkNet
from dinoreg.motion.rigid_search import RigidSearch, apply_rigid
from dinoreg.motion.settings import MotionConfig, Search
from dinoreg.motion.transforms import solve
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.load import load_preset
from dinoreg.space.sampling import sample_linear

# Two windows (1, 1, S, S), fixed and moving, to where the points (1, P, 2) of fixed lie in moving.
Method = Callable[[Tensor, Tensor, Tensor], Tensor]
KINDS = ("rigid", "affine", "tps")


def methods_of(
    net: LandmarkNet, config: MotionConfig, search: Search, pixel_mm: float, device: torch.device
) -> dict[str, Method]:
    """Return every method by name; the matcher where OpenCV is installed."""
    found: dict[str, Method] = {"identity": lambda fixed, moving, points: points}
    found |= {f"landmarks, {kind}": by_landmarks(net, config, kind) for kind in KINDS}
    found["rigid search"] = by_search(search)
    for kind in KINDS:
        found[f"rigid search, then landmarks, {kind}"] = by_landmarks(net, config, kind, search)
    if importlib.util.find_spec("cv2"):
        found["SIFT and RANSAC (OpenCV)"] = match_classically
    found["ffd-ncc"] = register_freely(pixel_mm, device)
    return found


def by_landmarks(net: LandmarkNet, config: MotionConfig, kind: str, search: Search | None = None) -> Method:
    """Return the tracker by a kind of transform, after a rigid search or without one."""
    device = next(net.parameters()).device

    def estimate(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
        matrix = search_windows(fixed, moving, search) if search else torch.eye(2, 3)
        places = apply_rigid(matrix, window_points(fixed.shape[-1]))[None]
        aligned, target = (net(window.to(device)).cpu() for window in (warp_windows(fixed, places), moving))
        source = apply_rigid(matrix, aligned)
        return solve(kind, source, target, smoothing=config.landmarks.smoothing).apply(points)

    return estimate


def by_search(search: Search) -> Method:
    """Return the rigid search alone."""

    def estimate(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
        matrix = search_windows(fixed, moving, search)
        return (points - matrix[:, 2]) @ matrix[:, :2]  # the map leads to the fixed window

    return estimate


def search_windows(fixed: Tensor, moving: Tensor, search: Search) -> Tensor:
    """Return the rigid map (2, 3) from the moving window to the fixed one, each taken for a whole frame."""
    side = fixed.shape[-1]
    whole = Square(((side - 1) / 2,) * 2, side / 2, (1.0, 1.0), side)
    return RigidSearch(moving, whole, search)(fixed).matrix


def match_classically(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
    """Estimate a similarity by SIFT, the ratio test (Lowe 2004) and RANSAC; the identity where it fails."""
    import cv2

    detector = cv2.SIFT_create()
    images = [np.ascontiguousarray((255 * image[0, 0]).byte().numpy()) for image in (fixed, moving)]
    (keys_a, words_a), (keys_b, words_b) = (detector.detectAndCompute(image, None) for image in images)
    if words_a is None or words_b is None or len(keys_b) < 2:
        return points
    matches = cv2.BFMatcher().knnMatch(words_a, words_b, k=2)
    good = [pair[0] for pair in matches if len(pair) == 2 and pair[0].distance < 0.8 * pair[1].distance]
    if len(good) < 3:
        return points
    # OpenCV's points are (column, row): the last array axis first
    a, b = (
        np.array([keys[getattr(match, index)].pt for match in good])[:, ::-1]
        for keys, index in ((keys_a, "queryIdx"), (keys_b, "trainIdx"))
    )
    matrix, _ = cv2.estimateAffinePartial2D(a, b, method=cv2.RANSAC, ransacReprojThreshold=3.0)
    if matrix is None:
        return points
    side = fixed.shape[-1]
    pixels = (points[0].numpy() + 1) * side / 2 - 0.5
    mapped = pixels @ matrix[:, :2].T + matrix[:, 2]
    return torch.from_numpy((mapped + 0.5) * 2 / side - 1).float()[None]


def register_freely(pixel_mm: float, device: torch.device) -> Method:
    """Return the preset ffd-ncc on windows with pixels of this size."""
    config = load_preset("ffd-ncc")

    def estimate(fixed: Tensor, moving: Tensor, points: Tensor) -> Tensor:
        images = [
            prepare_image(image[0, 0].numpy()[..., None], config.preprocess, modality="MR", mask=None)
            for image in (fixed, moving)
        ]
        with torch.enable_grad():
            field = register_prepared(*images, (pixel_mm, pixel_mm, 1.0), config, device=device)
        side = fixed.shape[-1]
        pixels = (points[0].T + 1) * side / 2 - 0.5
        vectors = torch.from_numpy(field.displacement[:, :, 0, :2].transpose(2, 0, 1).copy())
        moved = pixels + sample_linear(vectors, pixels)
        return ((moved.T + 0.5) * 2 / side - 1)[None]

    return estimate
