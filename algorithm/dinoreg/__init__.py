"""Medical image registration with foundation-model features.

    import dinoreg
    result = dinoreg.register("fixed.nii.gz", "moving.mha")
    result.verdict, result.warped, result.transform
    dinoreg.judge("fixed.nii.gz", "moving.mha", "of_another_program.nii.gz").grade

`register` and what it returns, `dinoreg.desk.register.Result`, and `judge` are the interface; the rest may
change.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dinoreg.desk.judge import judge
    from dinoreg.desk.register import Result, register

__all__ = ["Result", "__version__", "judge", "register"]
__version__ = metadata.version("dinoreg")


def __getattr__(name: str) -> Any:
    # torch takes seconds to load: only who registers waits for it.
    if name in ("Result", "register"):
        from dinoreg.desk import register as module

        return getattr(module, name)
    if name == "judge":
        from dinoreg.desk import judge as judging

        return judging.judge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
