"""Shapes that annotations state are checked in tests: by beartype, through the import hook of jaxtyping."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beartype import beartype
from jaxtyping import install_import_hook

_SHAPE = re.compile(r"\b(Float|Float32|Bool|Shaped)\[")
PACKAGE = Path(__file__).resolve().parents[2] / "algorithm" / "dinoreg"

# Called in every iteration of an optimiser: checks there would slow the tests down by a sixth.
UNCHECKED = {
    "dinoreg.space.coords",
    "dinoreg.space.displaced",
    "dinoreg.space.sampling",
    "dinoreg.space.separable",
    "dinoreg.optimise.bspline",
    "dinoreg.optimise.data_term",
    "dinoreg.optimise.parameterise",
    "dinoreg.optimise.regularise",
}


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check what a function's annotations say of arrays; the other types are mypy's, without a run."""
    function.__annotations__ = {
        name: hint for name, hint in function.__annotations__.items() if _SHAPE.search(str(hint))
    }
    return beartype(function)


def annotated_modules() -> list[str]:
    """Return the modules whose annotations state shapes."""
    return sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    )


def check_shapes() -> None:
    """Have their functions checked whenever they are called; to be called before they are imported."""
    install_import_hook(
        [name for name in annotated_modules() if name not in UNCHECKED], "shape_checker.check"
    )
