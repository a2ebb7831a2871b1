"""The index of many pages, the pair that most needs a look first."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dinoreg.report import style
from dinoreg.report.page.shown import Shown
from dinoreg.report.page.write import Page, asset, environment
from regtask.atomic import atomic_write_text

_THUMBNAIL = (960, 300)
# Of the picture's width: what lies above the panels, and how tall they are at most.
_PICTURE_INCHES = style.LEFT_INCHES + 6 * (style.COLUMN_INCHES + style.GAP_INCHES)
_HEADER_SHARE = style.HEADER_INCHES / _PICTURE_INCHES
_PANEL_SHARE = style.COLUMN_INCHES / _PICTURE_INCHES
# A pair that nobody judged is looked at before one that was found good.
_URGENCY = {"failed": 0, "doubtful": 1, "": 2, "good": 3}


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A pair in the index.

    Attributes:
        title: names the pair.
        link: to its page, relative to the index.
        verdict: or empty.
        reasons: for the verdict.
        dice: mean without and with the registration, or None.
        error_mm: mean landmark error without and with it, or None.
        folded_percent: of all voxels.
        thumbnail: JPEG in base 64.
    """

    title: str
    link: str
    verdict: str
    reasons: tuple[str, ...]
    dice: tuple[float, float] | None
    error_mm: tuple[float, float] | None
    folded_percent: float
    thumbnail: str

    @property
    def badness(self) -> tuple[float, ...]:
        """What the index is sorted by: verdict, then landmarks, then overlap, then folds."""
        error = self.error_mm[1] if self.error_mm else 0.0
        overlap = self.dice[1] if self.dice else 1.0
        return (_URGENCY.get(self.verdict, 2), -error, overlap, -self.folded_percent)


def index_row(shown: Shown, page: Page, link: str) -> IndexRow:
    """Return the row of a page."""
    dice = error = None
    if page.organs:
        before, after = (float(np.mean([organ[n] for organ in page.organs])) for n in (2, 3))
        dice = (before, after)
    if page.points is not None:
        error = (float(page.points.before.mean()), float(page.points.after.mean()))
    whole = Image.open(io.BytesIO(page.picture)).convert("RGB")
    # The panels of the first plane: all three would be too small to tell anything.
    top, bottom = (whole.width * share for share in (_HEADER_SHARE, _HEADER_SHARE + _PANEL_SHARE))
    small = whole.crop((0, int(top), whole.width, min(int(bottom), whole.height)))
    small.thumbnail(_THUMBNAIL)
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    thumbnail = base64.b64encode(packed.getvalue()).decode("ascii")
    return IndexRow(
        shown.title, link, shown.verdict, shown.reasons, dice, error, page.folded_percent, thumbnail
    )


def write_index(path: Path, title: str, rows: list[IndexRow]) -> None:
    """Write an index, the worst first.

    Raises:
        OutputError: it cannot be written.
    """
    rows = sorted(rows, key=lambda row: row.badness)
    template = environment().get_template("index.html.jinja")
    atomic_write_text(path, template.render(title=title, rows=rows, css=asset("page.css")))
