"""A local leaderboard: rank runs by their metrics files, and say how certain the order is."""

from regeval.ranking.challenges import UNPUBLISHED
from regeval.ranking.leaderboard import Leaderboard, Standing
from regeval.ranking.methods import Choice, Prepared, prepare
from regeval.ranking.metric_direction import Metric, known_metric, metric_of
from regeval.ranking.page import render_page
from regeval.ranking.rank_runs import rank_runs
from regeval.ranking.results import Results, compare
from regeval.ranking.runs import REFERENCE, Run, read_run, with_reference
from regeval.ranking.schemes import COMPONENT_WEIGHTS, Scheme
from regeval.ranking.text import format_leaderboard, leaderboard_csv

__all__ = [
    "COMPONENT_WEIGHTS",
    "REFERENCE",
    "UNPUBLISHED",
    "Choice",
    "Leaderboard",
    "Metric",
    "Prepared",
    "Results",
    "Run",
    "Scheme",
    "Standing",
    "compare",
    "format_leaderboard",
    "known_metric",
    "leaderboard_csv",
    "metric_of",
    "prepare",
    "rank_runs",
    "read_run",
    "render_page",
    "with_reference",
]
