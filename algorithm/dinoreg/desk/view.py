"""A report before somebody's eyes: in a notebook, or in the browser."""

from __future__ import annotations

import html
import logging
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dinoreg.report.page import MOST_VOXELS, Shown, make_page
from regtask.atomic import atomic_write_text

log = logging.getLogger(__name__)

# A notebook keeps what it shows: there an image is embedded with so many voxels at most.
_NOTEBOOK_VOXELS = 1_500_000
_HEIGHT_PIXELS = 900


@dataclass(frozen=True, slots=True)
class _Frame:
    """A page as the output of a cell, in a frame of its own: neither disturbs the other."""

    text: str

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {_HEIGHT_PIXELS}px; border: 0"
        return f'<iframe style="{style}" srcdoc="{html.escape(self.text)}"></iframe>'


def view(shown: Shown, path: Path | None = None) -> None:
    """Show the report of a pair: in a notebook as the output of the cell, else in the browser.

    Args:
        shown: the pair.
        path: file to keep the page in; by default none in a notebook, else one among the temporary files.

    Raises:
        OutputError: the file cannot be written.
    """
    display = _display_of_notebook()
    text = make_page(shown, most_voxels=MOST_VOXELS if display is None else _NOTEBOOK_VOXELS).text
    if path is None and display is None:
        path = Path(tempfile.mkdtemp(prefix="dinoreg-")) / "report.html"
    if path is not None:
        atomic_write_text(path, text)
    if display is not None:
        display(_Frame(text))
    elif path is not None and not webbrowser.open(path.resolve().as_uri()):
        log.warning("no browser to show it in: open %s", path)


def _display_of_notebook() -> Callable[[object], None] | None:
    """Return what shows an output below a cell; None outside a notebook. Nothing is loaded for it."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if module is None or not hasattr(shell, "kernel"):
        return None
    show: Callable[[object], None] = module.display.display
    return show
