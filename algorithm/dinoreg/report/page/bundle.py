"""NiiVue, the viewer of volumes in a browser, from the data of the installed package `ipyniivue`.

NiiVue is BSD-2-Clause, Copyright (c) 2025 Niivue; its terms go into each page with it. The package is never
imported: that would start its notebook widget. Its JavaScript is an ES module that ends by exporting that
widget; a page needs the class inside.
"""

from __future__ import annotations

import logging
import re
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

_PACKAGE = "ipyniivue"
# `new X(options)`, right after the widget's message, is how the module makes its own viewer.
_CLASS = re.compile(r'"Creating new Niivue instance"\);.{0,200}?=new (?P<name>[\w$]+)\(', re.DOTALL)
_EXPORT = re.compile(r"export\s*\{[^{}]*\};?\s*$")


class Bundle(NamedTuple):
    """NiiVue as a script.

    Attributes:
        script: text of a module that leaves the class in `globalThis.Niivue`.
        name: of package and version.
        licence: its text.
    """

    script: str
    name: str
    licence: str


def find_bundle() -> Bundle | None:
    """Return NiiVue, or None where it is not installed or not as expected (the log then says so)."""
    found = util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        log.debug("%s is not installed: pages without the interactive viewer", _PACKAGE)
        return None
    path = Path(found.origin).parent / "static" / "widget.js"
    version = metadata.version(_PACKAGE)
    try:
        script = as_script(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        log.warning("%s %s: no viewer in the page: %s", _PACKAGE, version, error)
        return None
    return Bundle(script, f"{_PACKAGE} {version}", _licence())


def as_script(module: str) -> str:
    """Return the widget's module as one that gives its viewer away instead of exporting itself.

    Raises:
        ValueError: it has another form.
    """
    name, export = _CLASS.search(module), _EXPORT.search(module)
    if name is None or export is None:
        raise ValueError("widget.js has another form than that of ipyniivue 2.4")
    return f"{module[: export.start()]}\nglobalThis.Niivue = {name['name']};\n"


def _licence() -> str:
    files = metadata.files(_PACKAGE) or []
    return next((file.read_text(encoding="utf-8") for file in files if file.name == "LICENSE"), "")
