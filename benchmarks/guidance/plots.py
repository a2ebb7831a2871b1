"""Plots of what was measured: the sweep of alpha and the box plots (fig. 8 and 4 of the paper)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from guidance.canvas import save

_HUES = ("Blues", "Oranges", "Greens", "Purples", "Reds")  # one per encoder
_MEAN = "mean"


def draw_sweep(rows: Sequence[dict[str, Any]], picture: Path) -> dict[str, Any]:
    """Draw Dice and HD95 against alpha, one curve per encoder with its standard deviation over the pairs.

    Returns the best alpha of each encoder.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    numbers = {}
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        own = sorted((alpha_of(row), row) for row in rows if row["encoder"] == encoder)
        alphas = [alpha for alpha, _ in own]
        for axis, key in zip(axes, ("dice", "hd95"), strict=True):
            mean = np.array([row[key] for _, row in own])
            spread = np.array([row[f"{key}_sd"] for _, row in own])
            (line,) = axis.plot(alphas, mean, marker="o", markersize=4, label=encoder)
            axis.fill_between(alphas, mean - spread, mean + spread, color=line.get_color(), alpha=0.15)
        best = max(own, key=lambda pair: pair[1]["dice"])
        axes[0].plot(best[0], best[1]["dice"], marker="*", markersize=13, color="black")
        numbers[encoder] = {"best_alpha": best[0], "dice": best[1]["dice"], "hd95": best[1]["hd95"]}
    for axis, title in zip(axes, ("Dice", "HD95"), strict=True):
        axis.set_xlabel("alpha: 0 correlation alone, 1 features alone")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    axes[0].legend()
    save(figure, picture)
    return numbers


def alpha_of(row: dict[str, Any]) -> float:
    """Return the share of the features that a row was measured with."""
    return next(float(s.partition("=")[2]) for s in row["settings"] if s.startswith("alpha="))


def draw_boxes(rows: Sequence[dict[str, Any]], picture: Path) -> dict[str, Any]:
    """Draw the Dice of all pairs as box plots: a group per label and one of the means, a box per method.

    Methods of one encoder share a hue. Returns the quartiles.
    """
    groups = [*rows[0]["dice_per_pair_and_label"], _MEAN]
    width = 0.8 / len(rows)
    figure, axis = plt.subplots(figsize=(2 + 2.2 * len(groups), 4), layout="constrained")
    numbers: dict[str, Any] = {}
    for number, (row, colour) in enumerate(zip(rows, _colours(rows), strict=True)):
        values = [_values(row, group) for group in groups]
        places = [n + (number - (len(rows) - 1) / 2) * width for n in range(len(groups))]
        boxes = axis.boxplot(
            values,
            positions=places,
            widths=0.85 * width,
            patch_artist=True,
            medianprops={"color": "black"},
            flierprops={"marker": ".", "markersize": 4},
            manage_ticks=False,
        )
        for box in boxes["boxes"]:
            box.set_facecolor(colour)
        axis.plot([], [], color=colour, linewidth=6, label=row["name"])
        numbers[row["name"]] = {
            group: [round(q, 4) for q in statistics.quantiles(found, n=4, method="inclusive")]
            for group, found in zip(groups, values, strict=True)
            if len(found) > 1
        }
    axis.set_xticks(range(len(groups)), [f"label {g}" if g != _MEAN else g for g in groups])
    axis.set_ylabel("Dice")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save(figure, picture)
    return numbers


def _values(row: dict[str, Any], group: str) -> list[float]:
    per_pair = row["dice_per_pair"] if group == _MEAN else row["dice_per_pair_and_label"][group]
    return list(per_pair.values())


def _colours(rows: Sequence[dict[str, Any]]) -> list[Any]:
    encoders = list(dict.fromkeys(row["encoder"] for row in rows if row["encoder"]))
    colours = []
    for row in rows:
        if not row["encoder"]:
            colours.append("0.85" if row["encoder"] is None else "0.6")
            continue
        own = [r["name"] for r in rows if r["encoder"] == row["encoder"]]
        shade = 0.3 + 0.5 * own.index(row["name"]) / len(own)
        colours.append(plt.get_cmap(_HUES[encoders.index(row["encoder"]) % len(_HUES)])(shade))
    return colours
