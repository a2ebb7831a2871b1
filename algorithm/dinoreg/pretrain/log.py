"""The log of a training as tables and as a picture of its curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dinoreg.pretrain.checkpoint import Progress
from regtask.atomic import atomic_path, atomic_write_text

LOSSES, SCORES, CURVES = "loss.csv", "scores.csv", "curves.png"
_SMOOTHED = 50  # steps that one point of the curve averages


def write_log(folder: Path, progress: Progress) -> None:
    """Write `loss.csv` (a row per step), `scores.csv` (held-out patients) and `curves.png`."""
    atomic_write_text(
        folder / LOSSES, _table([{"step": n, **row} for n, row in enumerate(progress.steps, 1)])
    )
    atomic_write_text(folder / SCORES, _table(progress.scores))
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, distances, shares = figure.subplots(1, 3)
    for name in _columns(progress.steps):
        values = np.array([row.get(name, np.nan) for row in progress.steps])
        width = min(_SMOOTHED, len(values))
        means = np.convolve(values, np.full(width, 1 / width), mode="valid")
        losses.plot(np.arange(width, len(values) + 1), means, label=name)
    losses.set_ylabel(f"loss, mean of {_SMOOTHED} steps")
    steps = [row["step"] for row in progress.scores]
    distances.plot(steps, [row["median_mm"] for row in progress.scores], "o-")
    distances.set_ylabel("median distance of the place found, mm")
    distances.set_ylim(bottom=0)
    for name, label in (("near", "place found within 12 mm"), ("organ", "organ found in another patient")):
        shares.plot(steps, [row[name] for row in progress.scores], "o-", label=label)
    shares.set_ylim(0, 1)
    for axes in (losses, distances, shares):
        axes.set_xlabel("step")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    with atomic_path(folder / CURVES) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _columns(rows: Sequence[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: Sequence[dict[str, float]]) -> str:
    names = _columns(rows)
    lines = [",".join(f"{row[name]:.6g}" if name in row else "" for name in names) for row in rows]
    return "\n".join([",".join(names), *lines]) + "\n"
