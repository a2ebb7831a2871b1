"""The leaderboard as one HTML file that needs nothing else: no network, no other file, light or dark."""

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from regeval.ranking.leaderboard import Leaderboard
from regeval.ranking.page import charts
from regeval.ranking.page.closer import closer
from regeval.ranking.page.heat_maps import Pictures, heat_maps


@dataclass(frozen=True, slots=True)
class Beside:
    """What the site of a challenge puts on a leaderboard; nothing of it without a site.

    Attributes:
        links: run -> address of its own page.
        unscored: submissions that were not scored, and why.
        up: address of the overview.
        still: runs that move nothing.
        pictures: run -> case -> address of the picture of what its field did.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    unscored: Sequence[tuple[str, str]] = ()
    up: str = ""
    still: Collection[str] = ()
    pictures: Pictures = field(default_factory=dict)


def render_page(board: Leaderboard, beside: Beside | None = None) -> str:
    """Return the page."""
    beside = beside or Beside()
    return fill(
        _text("board.html.jinja"),
        scripts=("page.js", "closer.js", *(["pictures.js"] if beside.pictures else [])),
        board=board,
        beside=beside,
        boxes=charts.box_plots(board),
        heat_maps=heat_maps(board, beside.pictures),
        intervals=charts.rank_intervals(board),
        rank_axis=charts.rank_axis(board),
        beaten=_beaten(board),
        closer=closer(board),
        row=charts.ROW,
        name_width=charts.NAME_WIDTH,
        plot_width=charts.PLOT_WIDTH,
        chart_width=charts.NAME_WIDTH + charts.PLOT_WIDTH + 26,
    )


def fill(template: str, scripts: Sequence[str] = ("page.js",), **values: Any) -> str:
    """Return a page from its template, with the style sheet that all pages share, and one script.

    Names of runs, tasks and metrics are text to the template engine and therefore escaped. The page's own
    policy admits its one script and style sheet by their hashes and no connection at all.

    Args:
        template: of the page.
        scripts: files of the script, in order.
        values: what the template names.
    """
    import jinja2

    style, script = _text("page.css"), "\n".join(map(_text, scripts))
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_text),  # the parts that a template includes
    )
    page: str = environment.from_string(template).render(
        style=_Trusted(style),
        script=_Trusted(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        number=charts.number_text,
        short=charts.short_name,
        **values,
    )
    return page


class _Trusted(str):
    """Text of this package, which the template engine takes as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _text(name: str) -> str:
    return (resources.files("regeval.ranking.page") / name).read_text("utf-8")


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
