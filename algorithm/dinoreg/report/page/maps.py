"""Maps over an image as codes of 8 bits, and what each code looks like and means."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, to_hex
from numpy.typing import NDArray

from dinoreg.report import style
from dinoreg.report.page.scores import PointErrors

# Codes 1 to 254 are values, 0 is none, 255 a fold.
_FIRST, _LAST, _FOLD = 1, 254, 255
# 1 is what unrelated places differ by; a little more is still told apart.
MISMATCH_TOP = 1.5
_STOPS = 24
_WORST_POINT_MM = 5.0


def code_linear(values: NDArray[np.floating], top: float) -> NDArray[np.uint8]:
    """Code values from 0 to `top`, larger ones as `top`."""
    share = np.clip(values / top, 0, 1)
    return np.asarray(np.rint(share * (_LAST - _FIRST) + _FIRST), dtype=np.uint8)


def code_jacobian(determinant: NDArray[np.floating], folded: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Code determinants on a logarithmic scale; folds are told apart from all values."""
    low, high = np.log(style.JACOBIAN_RANGE)
    share = (np.log(np.maximum(determinant, 1e-6)) - low) / (high - low)
    return np.where(folded, _FOLD, code_linear(share, 1.0)).astype(np.uint8)


def describe(longest_mm: float) -> dict[str, Any]:
    """Return for each map its colours by code, its values by code, and its scale."""
    low, high = style.JACOBIAN_RANGE
    shares = np.linspace(0, 1, _LAST - _FIRST + 1)
    determinants = low * (high / low) ** shares
    ticks = [(float(np.log(v / low) / np.log(high / low)), text) for v, text in style.JACOBIAN_TICKS.items()]
    return {
        "jacobian": {
            "name": "< 1 shrinks, > 1 grows; magenta: folded",
            # Where the volume stays the image shows through.
            **_coloured(style.jacobian_map(), shares, np.clip(4 * np.abs(shares - 0.5), 0, 0.85)),
            "values": ["-", *(f"{value:.2f}" for value in determinants), "folded"],
            "ticks": ticks,
        },
        "length": {
            "name": "length of the displacement, mm",
            **_coloured(colormaps[style.LENGTH_MAP], shares, np.full_like(shares, 0.6)),
            "values": ["-", *(f"{value:.1f} mm" for value in shares * longest_mm), "-"],
            "ticks": [(n / 4, f"{longest_mm * n / 4:.3g}") for n in range(5)],
        },
        "mismatch": {
            "name": "structure that differs (MIND): 0 alike, 1 as unrelated places do",
            **_coloured(colormaps["inferno"], shares, np.clip(1.5 * shares, 0, 0.85)),
            "values": ["-", *(f"{value:.2f}" for value in shares * MISMATCH_TOP), "-"],
            "ticks": [(value / MISMATCH_TOP, f"{value:g}") for value in (0, 0.5, 1, 1.5)],
        },
    }


def point_colours(count: int, errors: PointErrors | None) -> list[str]:
    """Return a colour for each landmark: from green, right, to red, 5 mm off or more; one where unknown."""
    if errors is None:
        return [style.LABEL_COLOURS[1]] * count
    shades = colormaps["RdYlGn_r"](np.clip(errors.after / _WORST_POINT_MM, 0, 1))
    return [to_hex(shade) for shade in shades]


def _coloured(
    colours: Colormap, shares: NDArray[np.floating], opacity: NDArray[np.floating]
) -> dict[str, list[Any]]:
    rgb = np.rint(255 * colours(shares)[:, :3]).astype(int)
    alpha = np.rint(255 * opacity).astype(int)
    fold = [int(style.FOLD[n : n + 2], 16) for n in (1, 3, 5)]
    by_code = [[0, 0, 0, 0], *np.column_stack([rgb, alpha]).tolist(), [*fold, 255]]
    stops = np.linspace(0, len(rgb) - 1, _STOPS).astype(int)
    return {"colours": by_code, "ramp": rgb[stops].tolist()}
