"""Registered pairs: images, differences, grids, and maps of the volume change (fig. 5 and 7 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.encoders.pool import EncoderPool
from dinoreg.optimise.data_term import warp_linear
from dinoreg.report.style import JACOBIAN_TICKS, label_colour
from dinoreg.settings.config import Config
from dinoreg.space.coords import identity_positions
from dinoreg.space.jacobian import jacobian_determinant
from guidance.canvas import in_plane, registered, save, show, show_difference, show_volume_change, slice_of
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset
from regtask.images import read_labels
from regtask.pair import Pair

# By name, what a pair is registered with.
Configs = Mapping[str, Config]
_SHOWN_PAIRS = 3


def draw_pairs(dataset: Dataset, config: Config, picture: Path, device: torch.device) -> None:
    """Draw pairs before and after: outlines of the fixed labels, differences, grid, volume change."""
    pairs = dataset.pairs()
    chosen = [pairs[n] for n in np.linspace(0, len(pairs) - 1, _SHOWN_PAIRS).round().astype(int)]
    titles = ("fixed", "moving", "warped", "moving - fixed", "warped - fixed", "grid", "volume change")
    figure, axes = plt.subplots(len(chosen), len(titles), figsize=(2.3 * len(titles), 2.45 * len(chosen)))
    for row, pair in zip(axes, chosen, strict=True):
        displacement = in_plane(registered(pair, config, device))
        _draw_images(row[:5], pair, displacement, titles)
        at = identity_positions(displacement.shape[1:]) + displacement
        row[5].imshow(np.ones(at.shape[:0:-1]), cmap="gray", vmin=0, vmax=1)
        for lines in (at[:, ::4].numpy(), at[:, :, ::4].movedim(1, 2).numpy()):
            for x, y in zip(lines[0], lines[1], strict=True):
                row[5].plot(x, y, color="#16506f", linewidth=0.5)
        row[5].set_title(titles[5], fontsize=8)
        row[5].axis("off")
        show_volume_change(row[6], displacement, titles[6])
    save(figure, picture)


def draw_jacobians(
    dataset: Dataset, configs: Configs, number: int, picture: Path, device: torch.device
) -> dict[str, Any]:
    """Draw where the area changes by each configuration (fig. 5 of the paper), beside the images.

    Returns, per configuration, the mean magnitude of the logarithm of the determinant where the fixed image
    has a label and elsewhere: features that deform the background show in the second.
    """
    pair = dataset.pairs()[number]
    figure, axes = plt.subplots(1, 2 + len(configs), figsize=(2.5 * (2 + len(configs)), 2.8))
    show(axes[0], slice_of(pair.fixed)[0], f"{pair.fixed_id} fixed")
    show(axes[1], slice_of(pair.moving)[0], "moving")
    labelled = torch.from_numpy(_labels(pair) > 0)
    pool, numbers, image = EncoderPool(device), {}, None
    for axis, (name, config) in zip(axes[2:], configs.items(), strict=True):
        displacement = in_plane(registered(pair, config, device, pool))
        image = show_volume_change(axis, displacement, name)
        change = jacobian_determinant(displacement).clamp(min=0.01).log().abs()
        numbers[name] = {
            "on_labels": float(change[labelled].mean()),
            "elsewhere": float(change[~labelled].mean()),
        }
    bar = figure.colorbar(image, ax=axes, ticks=list(JACOBIAN_TICKS), fraction=0.02)
    bar.ax.set_yticklabels(JACOBIAN_TICKS.values())
    bar.minorticks_off()
    save(figure, picture)
    return {"pair": pair.case_key, "mean_log_determinant": numbers}


def draw_guided(
    dataset: Dataset, configs: Configs, number: int, picture: Path, device: torch.device
) -> dict[str, Any]:
    """Draw one pair before and after each configuration, with Dice and HD95 (fig. 7 of the paper)."""
    pair = dataset.pairs()[number]
    titles = ("fixed", "moving", "warped", "moving - fixed", "warped - fixed", "volume change")
    figure, axes = plt.subplots(
        len(configs), len(titles), figsize=(2.3 * len(titles), 2.6 * len(configs)), squeeze=False
    )
    numbers: dict[str, Any] = {"pair": pair.case_key, "initial": _scores(pair, None)}
    pool = EncoderPool(device)
    for row, (name, config) in zip(axes, configs.items(), strict=True):
        field = registered(pair, config, device, pool)
        displacement = in_plane(field)
        found = numbers[name] = _scores(pair, field)
        _draw_images(row[:5], pair, displacement, titles)
        row[2].set_title(f"{name}\nDice {found['dice']:.3f}, HD95 {found['hd95']:.2f}", fontsize=8)
        show_volume_change(row[5], displacement, titles[5])
    before = numbers["initial"]
    figure.suptitle(f"{pair.case_key}, before: Dice {before['dice']:.3f}, HD95 {before['hd95']:.2f}")
    save(figure, picture)
    return numbers


def _draw_images(axes: Any, pair: Pair, displacement: Tensor, titles: tuple[str, ...]) -> None:
    """Fixed, moving and warped with the outlines of the fixed labels, then both differences."""
    fixed, moving = slice_of(pair.fixed), slice_of(pair.moving)
    warped = warp_linear(moving, displacement)
    outlines = _labels(pair)
    for axis, image, title in zip(axes[:3], (fixed, moving, warped), titles, strict=False):
        show(axis, image[0], title if title != "fixed" else f"{pair.fixed_id} fixed")
        for label in np.unique(outlines[outlines > 0]):
            axis.contour(label == outlines.T, [0.5], colors=label_colour(int(label)), linewidths=0.8)
    for axis, image, title in zip(axes[3:], (moving, warped), titles[3:], strict=False):
        show_difference(axis, (image - fixed)[0], title)


def _labels(pair: Pair) -> NDArray[np.integer]:
    """Labels of the fixed image, (I, J)."""
    path = pair.labels().fixed
    assert path is not None
    return read_labels(path)[0][..., 0]


def _scores(pair: Pair, field: NDArray[np.float32] | None) -> dict[str, float]:
    scores = score_case(pair, field)
    assert scores.dice is not None
    assert scores.hd95_mm is not None
    return {
        "dice": scores.dice,
        "hd95": scores.hd95_mm,
        "sd_log_jacobian": scores.sd_log_jacobian,
        "folding_percent": scores.folding_percent,
    }
