"""The leaderboard as one HTML file that needs nothing else: no network, no other file, light or dark."""

import base64
import hashlib
from importlib import resources
from typing import Any

from regeval.ranking.leaderboard import Leaderboard
from regeval.ranking.page import charts

_FILES = ("board.html.jinja", "page.css", "page.js")


def render_page(board: Leaderboard) -> str:
    """Return the page.

    Names of runs, tasks and metrics are text to the template engine and therefore escaped. The page's own
    policy admits its one script and style sheet by their hashes and no connection at all.
    """
    import jinja2

    template, style, script = ((resources.files(__package__) / name).read_text("utf-8") for name in _FILES)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page: str = environment.from_string(template).render(
        board=board,
        style=_Trusted(style),
        script=_Trusted(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        number=charts.number_text,
        short=charts.short_name,
        boxes=charts.box_plots(board),
        heat_maps=charts.heat_maps(board),
        intervals=charts.rank_intervals(board),
        rank_axis=charts.rank_axis(board),
        beaten=_beaten(board),
        row=charts.ROW,
        name_width=charts.NAME_WIDTH,
        plot_width=charts.PLOT_WIDTH,
        chart_width=charts.NAME_WIDTH + charts.PLOT_WIDTH + 26,
    )
    return page


class _Trusted(str):
    """Text of this package, which the template engine takes as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _beaten(board: Leaderboard) -> dict[str, dict[str, list[Any]]]:
    """Return run -> other run -> metrics on which the first is significantly better."""
    runs = board.results.runs
    return {
        one: {
            other: [name for name, wins in board.wins.items() if wins[row, column]]
            for column, other in enumerate(runs)
        }
        for row, one in enumerate(runs)
    }
