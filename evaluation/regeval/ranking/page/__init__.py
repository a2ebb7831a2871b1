"""The leaderboard as one HTML file that needs nothing else."""

from regeval.ranking.page.heat_maps import Pictures
from regeval.ranking.page.render import Beside, fill, render_page

__all__ = ["Beside", "Pictures", "fill", "render_page"]
