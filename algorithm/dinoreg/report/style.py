"""Colours and sizes of the pictures: dark, as on a reading workstation."""

from __future__ import annotations

from matplotlib.colors import Colormap, LinearSegmentedColormap

BACKGROUND = "#101214"
PANEL = "#000000"
TEXT = "#e6e6e6"
FAINT_TEXT = "#9aa0a6"
FOLD = "#ff2bd6"
HATCH = "#8a9099"

COLUMN_INCHES = 2.75
HEADER_INCHES = 0.85
FOOTER_INCHES = 0.75
LEFT_INCHES = 0.35
GAP_INCHES = 0.06

# With more labels than this the legend gives their number, and outlines are thin.
MANY_LABELS = 8

# Told apart on grey, also by most people who confuse red and green; repeated where there are more labels.
LABEL_COLOURS = ("#ffd23f", "#4cc9f0", "#ff6b6b", "#7ae582", "#c77dff", "#ff9f1c", "#f1faee", "#80b918")

# The determinants at both ends of the colour scale; the scale is logarithmic, so 1 is in the middle.
JACOBIAN_RANGE = (1 / 3, 3.0)
JACOBIAN_TICKS = {1 / 3: "1/3", 1 / 2: "1/2", 1.0: "1", 2.0: "2", 3.0: "3"}

LENGTH_MAP = "viridis"


def jacobian_map() -> Colormap:
    """Blue for shrinking, near black at 1, orange for growing; folds in the signal colour."""
    colours = ["#b8ecff", "#3aa7e0", "#16506f", "#1c1d1f", "#7a3412", "#e8762d", "#ffe0b0"]
    return LinearSegmentedColormap.from_list("volume change", colours).with_extremes(bad=FOLD)


def label_colour(label: int) -> str:
    """Return the colour of a label, the same in every picture."""
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]
