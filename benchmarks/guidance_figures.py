"""Figures of `bench_guidance.py`: distance curves, principal components, order of warping and encoding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.pca import fit_basis
from dinoreg.encoders.source import Guide
from dinoreg.optimise.data_term import warp_linear
from dinoreg.optimise.guidance import Distance, feature_distance, stretch
from dinoreg.optimise.similarity import ncc
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.report.style import jacobian_map, label_colour
from dinoreg.settings.load import load_preset
from dinoreg.space.coords import identity_positions
from dinoreg.space.jacobian import jacobian_determinant
from regtask.dataset import Dataset
from regtask.images import read_labels, read_volume

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm

# By name, functions of images on the CPU.
Guides = Mapping[str, Guide]

# Steps of the paper: pi / 32 up to 90 degrees; 1.2 mm of 1.8 mm pixels, up to 57.6 mm.
DEGREES = np.linspace(-90, 90, 33)
PIXELS = np.linspace(-32, 32, 97)
GRID = 64  # patches per side
_COMPONENTS = 5
_SHOWN_PAIRS = 3


def draw_curves(dataset: Dataset, guides: Guides, picture: Path) -> dict[str, Any]:
    """Draw the distance of an image to itself, turned and moved, against angle and shift.

    What lies outside the image repeats its border. Features are scaled to [0, 1] by the extremes of both maps
    together, as in the paper. Returns, per curve, how far its minimum at 0 reaches and how many local minima
    it has.
    """
    image = slice_of(dataset.pairs()[0].fixed)
    motions = {
        "rotation (degrees)": (DEGREES, lambda angle: _rotation(image.shape[1:], angle)),
        "translation (pixels)": (PIXELS, lambda shift: _translation(image.shape[1:], shift)),
    }
    distances: dict[str, Callable[[Tensor], float]] = {"NCC": lambda warped: float(ncc(image)(warped, None))}
    for name, encode in guides.items():
        for kind in get_args(Distance):
            distances[f"{name} {kind}"] = _distance_to(image, encode, kind)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    numbers: dict[str, Any] = {}
    for axis, (title, (steps, motion)) in zip(axes, motions.items(), strict=True):
        for name, distance in distances.items():
            with torch.no_grad():
                curve = np.array([distance(warp_linear(image, motion(step))) for step in steps])
            axis.plot(steps, curve / curve.max(), label=name, linestyle="--" if "l1" in name else "-")
            numbers.setdefault(name, {})[title] = describe_curve(steps, curve)
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("distance / its maximum")
    axes[1].legend()
    _save(figure, picture)
    return numbers


def describe_curve(steps: NDArray[np.float64], curve: NDArray[np.float64]) -> dict[str, float]:
    """Return where a curve is smallest, how far it rises without a break from 0, and its local minima."""
    zero = int(np.abs(steps).argmin())
    reach = []
    for side in (curve[zero:], curve[zero::-1]):
        falls = np.flatnonzero(np.diff(side) < 0)
        reach.append(int(falls[0]) if falls.size else len(side) - 1)
    inner = curve[1:-1]
    return {
        "minimum_at": float(steps[curve.argmin()]),
        "capture_range": round(float(min(reach) * (steps[1] - steps[0])), 3),
        "local_minima": int(((inner < curve[:-2]) & (inner < curve[2:])).sum()),
    }


def draw_components(dataset: Dataset, guides: Guides, picture: Path) -> dict[str, Any]:
    """Draw the first principal components of the features of one image per encoder (fig. 2 of the paper)."""
    image = slice_of(dataset.pairs()[0].fixed)
    figure, axes = plt.subplots(
        len(guides), 1 + _COMPONENTS, figsize=(2 * (1 + _COMPONENTS), 2.2 * len(guides)), squeeze=False
    )
    numbers = {}
    for row, (name, encode) in zip(axes, guides.items(), strict=True):
        with torch.no_grad():
            features = encode(image)
        tokens = features.flatten(1).T
        basis = fit_basis([tokens], min(_COMPONENTS, len(features)))
        maps = basis.project(tokens).T.reshape(-1, *features.shape[1:])
        _show(row[0], image[0], name)
        for axis, component, share in zip(row[1:], maps, basis.explained.tolist(), strict=False):
            _show(axis, component, f"{100 * share:.0f} %")
        for axis in row[1 + len(maps) :]:
            axis.axis("off")
        numbers[name] = {"explained": basis.explained.tolist()}
    _save(figure, picture)
    return numbers


def draw_commutation(dataset: Dataset, guides: Guides, picture: Path) -> dict[str, Any]:
    """Draw warped features beside the features of the warped image (fig. 6 of the paper).

    The displacement is that of `ffd-ncc`. Returns the L1 distance of both, and for scale that of the features
    of fixed and moving before the registration.
    """
    pair = dataset.pairs()[0]
    fixed, moving, displacement = _registered(pair.fixed, pair.moving, torch.device("cpu"))
    titles = ("moving", "features", "warped features", "features of the warped image", "difference")
    figure, axes = plt.subplots(
        len(guides), len(titles), figsize=(2.6 * len(titles), 2.6 * len(guides)), squeeze=False
    )
    numbers = {}
    for row, (name, encode) in zip(axes, guides.items(), strict=True):
        with torch.no_grad():
            plain, target = encode(moving), encode(fixed)
            scale = [t / s for t, s in zip(plain.shape[1:], moving.shape[1:], strict=True)]
            cells = stretch(displacement, plain.shape[1:]) * torch.tensor(scale).view(-1, 1, 1)
            features_warped = warp_linear(plain, cells)
            warped_features = encode(warp_linear(moving, displacement))
        difference = (features_warped - warped_features).abs().mean(dim=0)
        basis = fit_basis([plain.flatten(1).T], 1)
        maps = [
            basis.project(f.flatten(1).T).reshape(plain.shape[1:])
            for f in (plain, features_warped, warped_features)
        ]
        for axis, shown, title in zip(row, (moving[0], *maps, difference), titles, strict=True):
            _show(axis, shown, f"{name}: {title}")
        before = float((plain - target).abs().mean())
        numbers[name] = {"l1_of_both_orders": float(difference.mean()), "l1_fixed_to_moving": before}
    _save(figure, picture)
    return numbers


def draw_pairs(dataset: Dataset, picture: Path, device: torch.device) -> None:
    """Draw pairs before and after `ffd-ncc`: outlines of the fixed labels, differences, grid, volume."""
    pairs = dataset.pairs()
    chosen = [pairs[n] for n in np.linspace(0, len(pairs) - 1, _SHOWN_PAIRS).round().astype(int)]
    titles = ("fixed", "moving", "warped", "moving - fixed", "warped - fixed", "grid", "volume change")
    figure, axes = plt.subplots(len(chosen), len(titles), figsize=(2.3 * len(titles), 2.45 * len(chosen)))
    for row, pair in zip(axes, chosen, strict=True):
        fixed, moving, displacement = _registered(pair.fixed, pair.moving, device)
        warped = warp_linear(moving, displacement)
        labels = pair.labels()
        assert labels.fixed is not None
        outlines = read_labels(labels.fixed)[0][..., 0]
        for axis, image, title in zip(row, (fixed, moving, warped), titles, strict=False):
            _show(axis, image[0], title if title != "fixed" else f"{pair.fixed_id} fixed")
            for label in np.unique(outlines[outlines > 0]):
                axis.contour(label == outlines.T, [0.5], colors=label_colour(int(label)), linewidths=0.8)
        for axis, image, title in zip(row[3:], (moving, warped), titles[3:], strict=False):
            axis.imshow((image - fixed)[0].T.numpy(), cmap="RdBu", vmin=-0.8, vmax=0.8)
            axis.set_title(title, fontsize=8)
        at = identity_positions(fixed.shape[1:]) + displacement
        row[5].imshow(np.ones_like(fixed[0].T.numpy()), cmap="gray", vmin=0, vmax=1)
        for lines in (at[:, ::4].numpy(), at[:, :, ::4].movedim(1, 2).numpy()):
            for x, y in zip(lines[0], lines[1], strict=True):
                row[5].plot(x, y, color="#16506f", linewidth=0.5)
        determinant = jacobian_determinant(displacement).clamp(min=0.01).T.numpy()
        row[6].imshow(determinant, cmap=jacobian_map(), norm=LogNorm(1 / 3, 3))
        for axis, title in zip(row[5:], titles[5:], strict=True):
            axis.set_title(title, fontsize=8)
        for axis in row:
            axis.axis("off")
    _save(figure, picture)


def slice_of(path: Path) -> Tensor:
    """Read a single slice as the pipeline sees it, (1, I, J) in [0, 1]."""
    settings = load_preset("ffd-ncc").preprocess
    image = prepare_image(read_volume(path).data, settings, modality="MR", mask=None)
    return torch.from_numpy(image.values[..., 0])[None]


def _registered(fixed: Path, moving: Path, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Both slices and the displacement of `ffd-ncc`, (2, I, J) pixels."""
    config = load_preset("ffd-ncc")
    volumes = [read_volume(path) for path in (fixed, moving)]
    images = [prepare_image(v.data, config.preprocess, modality="MR", mask=None) for v in volumes]
    found = register_prepared(images[0], images[1], volumes[0].grid.spacing_mm, config, device=device)
    displacement = torch.from_numpy(found.displacement[..., 0, :2].copy()).movedim(-1, 0)
    return slice_of(fixed), slice_of(moving), displacement


def _distance_to(image: Tensor, encode: Guide, kind: Distance) -> Callable[[Tensor], float]:
    with torch.no_grad():
        fixed = encode(image)

    def distance(warped: Tensor) -> float:
        features = encode(warped)
        low = torch.minimum(fixed.min(), features.min())
        extent = torch.maximum(fixed.max(), features.max()) - low
        return float(feature_distance((fixed - low) / extent, kind)((features - low) / extent, None))

    return distance


def _rotation(shape: tuple[int, ...], degrees: float) -> Tensor:
    """Displacement of a rotation about the centre, (2, I, J) pixels."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = torch.tensor([(n - 1) / 2 for n in shape]).view(2, 1, 1)
    lever = identity_positions(shape) - centre
    return torch.einsum("ab,bij->aij", turn, lever) - lever


def _translation(shape: tuple[int, ...], pixels: float) -> Tensor:
    return torch.tensor([pixels, 0.0]).view(2, 1, 1).expand(2, *shape)


def _show(axis: Any, plane: Tensor, title: str) -> None:
    axis.imshow(plane.T.numpy(), cmap="gray")
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def _save(figure: Any, picture: Path) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110, bbox_inches="tight")
    plt.close(figure)
