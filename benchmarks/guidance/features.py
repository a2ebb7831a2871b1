"""What features look like, and what warping does to them (fig. 2 and 6 of the paper)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch

from dinoreg.encoders.pca import fit_basis
from dinoreg.optimise.data_term import warp_linear
from dinoreg.optimise.guidance import stretch
from dinoreg.settings.config import Config
from guidance.canvas import Guides, in_plane, registered, save, show, slice_of
from regtask.dataset import Dataset

_COMPONENTS = 5


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
        show(row[0], image[0], name)
        for axis, component, share in zip(row[1:], maps, basis.explained.tolist(), strict=False):
            show(axis, component, f"{100 * share:.0f} %")
        for axis in row[1 + len(maps) :]:
            axis.axis("off")
        numbers[name] = {"explained": basis.explained.tolist()}
    save(figure, picture)
    return numbers


def draw_commutation(
    dataset: Dataset, guides: Guides, config: Config, picture: Path, device: torch.device
) -> dict[str, Any]:
    """Draw warped features beside the features of the warped image (fig. 6 of the paper).

    The displacement is that of the configuration. Returns the L1 distance of both, and for scale that of the
    features of fixed and moving before the registration.
    """
    pair = dataset.pairs()[0]
    fixed, moving = slice_of(pair.fixed), slice_of(pair.moving)
    displacement = in_plane(registered(pair, config, device))
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
            show(axis, shown, f"{name}: {title}")
        before = float((plain - target).abs().mean())
        numbers[name] = {"l1_of_both_orders": float(difference.mean()), "l1_fixed_to_moving": before}
    save(figure, picture)
    return numbers
