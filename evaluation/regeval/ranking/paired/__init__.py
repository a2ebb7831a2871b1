"""Two runs, case by case: which is better, by how much, and whether that could be chance."""

from regeval.ranking.paired.compare_two import Comparison, Difference, compare_two
from regeval.ranking.paired.page import render_comparison
from regeval.ranking.paired.text import comparison_csv, format_comparison

__all__ = [
    "Comparison",
    "Difference",
    "compare_two",
    "comparison_csv",
    "format_comparison",
    "render_comparison",
]
