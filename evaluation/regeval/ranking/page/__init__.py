"""The leaderboard as one HTML file that needs nothing else."""

from regeval.ranking.page.render import render_page

__all__ = ["render_page"]
