"""The page of one pair: verdict and scores, the interactive viewer, and the static picture."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import numpy as np

from dinoreg.report.page.bundle import find_bundle
from dinoreg.report.page.content import Content, make_content
from dinoreg.report.page.embed import pack_bytes
from dinoreg.report.page.maps import point_colours
from dinoreg.report.page.scores import OrganScore, PointErrors, organ_scores, point_errors
from dinoreg.report.page.shown import Shown
from dinoreg.report.picture import draw_pair
from dinoreg.space.regrid import regrid

log = logging.getLogger(__name__)

# An image of so many voxels is embedded as it is.
MOST_VOXELS = 6_000_000
# Arrays as text; with NiiVue and the picture a page then stays below 25 MB.
_MOST_TEXT = 20 << 20
_FEWEST_VOXELS = 10_000
_SCRIPTS = ("data", "mapping", "slices", "draw", "compare", "panel", "viewer", "controls", "start")
_NOT_INSTALLED = (
    "The interactive viewer is off: this page was made without NiiVue. Install it with"
    " pip install dinoreg[viewer] and make the page again with dinoreg report."
)
_NO_SCRIPT = "The interactive viewer is off: it needs a browser that runs scripts, with WebGL 2."


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page and what it says.

    Attributes:
        text: HTML, complete: nothing is loaded from anywhere.
        picture: PNG.
        organs: overlap of each label; empty where that is not known.
        points: errors of the landmarks; None where they are not known.
        folded_percent: of all voxels.
        interactive: whether the viewer is in it.
    """

    text: str
    picture: bytes
    organs: list[OrganScore]
    points: PointErrors | None
    folded_percent: float
    interactive: bool


def make_page(shown: Shown, *, most_voxels: int = MOST_VOXELS) -> Page:
    """Make the page of a pair.

    Args:
        shown: the pair.
        most_voxels: of each embedded image; larger ones are reduced, further where the page would be too
            large.
    """
    bundle = find_bundle()
    organs, errors = organ_scores(shown), point_errors(shown.points, shown)
    content = make_content(shown, errors, most_voxels)
    while bundle and sum(map(len, content.arrays.values())) > _MOST_TEXT and most_voxels > _FEWEST_VOXELS:
        most_voxels = int(0.7 * min(most_voxels, max(shown.fixed.data.size, shown.moving.data.size)))
        content = make_content(shown, errors, most_voxels)
    picture = draw_picture(shown)
    text = environment().get_template("page.html.jinja").render(
        title=shown.title,
        verdict=shown.verdict,
        reasons=shown.reasons,
        tiles=_tiles(content, organs, errors),
        facts=shown.facts,
        organs=organs,
        **_point_rows(shown, errors),
        has_labels=bool(content.facts["labels"]),
        has_fixed_labels=shown.fixed_labels is not None,
        letters_note=""
        if content.fixed.letters
        else "The orientation is not known: axes are taken as right, anterior, superior.",
        reduced_note=_reduced_note(content),
        tall=_tallest(content),
        picture=base64.b64encode(picture).decode("ascii"),
        why_static=_NO_SCRIPT if bundle else _NOT_INSTALLED,
        niivue=bundle,
        niivue_packed=_packed(bundle.script) if bundle else "",
        facts_json=json.dumps(content.facts, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        arrays=content.arrays,
        css=asset("page.css"),
        script="\n".join(asset(f"{name}.js") for name in _SCRIPTS),
    )  # fmt: skip
    return Page(text, picture, organs, errors, content.folded_percent, bundle is not None)


def draw_picture(shown: Shown) -> bytes:
    """Return the static picture of a pair as PNG."""
    moving = shown.moving
    lowest = float(moving.data.min())
    stored = None
    if shown.moving_labels is not None:
        labels = shown.moving_labels.astype(np.float32)
        stored = regrid(labels, moving.grid, shown.read_on, order=0, outside=0).astype(np.int32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw_pair(
            path,
            shown.fixed.data,
            regrid(moving.data, moving.grid, shown.read_on, order=1, outside=lowest),
            shown.warped,
            shown.displacement,
            shown.fixed.grid.spacing_mm,
            fixed_labels=shown.fixed_labels,
            warped_labels=shown.warped_labels,
            moving_labels=stored,
            label_names=shown.label_names,
            title=shown.title,
            affine=shown.fixed.grid.affine,
            moving_affine=shown.read_on.affine,
            no_data=~shown.has_data(),
        )
        return path.read_bytes()


def _tiles(content: Content, organs: list[OrganScore], errors: PointErrors | None) -> list[tuple[str, str]]:
    tiles = []
    if organs:
        before, after = (np.mean([organ[n] for organ in organs]) for n in (2, 3))
        tiles.append(("mean Dice, before and after", f"{before:.3f} → {after:.3f}"))
    if errors is not None:
        before, after = errors.before.mean(), errors.after.mean()
        tiles.append(("mean landmark error, before and after", f"{before:.2f} → {after:.2f} mm"))
        tiles.append(("largest landmark error", f"{errors.after.max():.2f} mm"))
    median, high = content.length_mm
    tiles.append(("displacement, median and 99 %", f"{median:.1f}, {high:.1f} mm"))
    tiles.append(("folded voxels", f"{content.folded_percent:.3f} %"))
    return tiles


def _point_rows(shown: Shown, errors: PointErrors | None) -> dict[str, Any]:
    """Rows of the table of landmarks, the worst first."""
    points = shown.points
    if points is None or not len(points.fixed):
        return {"points": []}
    to_moving, linear = shown.to_moving, shown.moving.grid.affine[:3, :3]
    resting = points.fixed @ to_moving[:3, :3].T + to_moving[:3, 3]
    moved = np.linalg.norm((points.found - resting) @ linear.T, axis=1)
    order = np.argsort(-(errors.after if errors is not None else moved), kind="stable")
    colours = point_colours(len(moved), errors)
    rows = [
        {
            "number": int(n),
            "name": points.names[n] if n < len(points.names) and points.names[n] else f"{n + 1}",
            "colour": colours[n],
            "moved": f"{moved[n]:.2f}",
            "before": f"{errors.before[n]:.2f}" if errors is not None else "",
            "after": f"{errors.after[n]:.2f}" if errors is not None else "",
        }
        for n in order
    ]
    return {"points": rows, "measured": errors is not None}


def _tallest(content: Content) -> float:
    """Height over width of the tallest plane, within what fits on a screen."""
    across, deep, up = (
        n * mm
        for n, mm in zip(*(content.facts["lattices"]["fixed"][k] for k in ("shape", "spacing")), strict=True)
    )
    return float(round(min(max(deep / across, up / across, up / deep, 0.6), 1.3), 3))


def _reduced_note(content: Content) -> str:
    stride = max(content.fixed.stride)
    return f"The page holds every {stride}th voxel of the finest axes." if stride > 1 else ""


@cache
def _packed(script: str) -> str:
    return pack_bytes(script.encode("utf-8"))


@cache
def environment() -> jinja2.Environment:
    """Return what renders the templates; values are escaped."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(asset), autoescape=True, undefined=jinja2.StrictUndefined
    )


@cache
def asset(name: str) -> str:
    """Return the text of a template, style or script."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
