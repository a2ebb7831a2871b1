"""One pair, registered or not: a field in any case that can be helped, and what the manifest says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dinoreg.encoders.pool import EncoderPool
from dinoreg.guard.verdict import Grade
from dinoreg.pipeline.register import register
from dinoreg.pipeline.registration import Registration
from dinoreg.preprocess.pair import ImagePair
from dinoreg.settings.config import Config
from dinoreg.stage import MakeField, OnStage, StageBegins, StageEnded
from regtask.errors import DataError, Fault

log = logging.getLogger(__name__)

OnFailure = Literal["raise", "fallback"]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """How the registration of a pair ended.

    Attributes:
        registration: None where it failed.
        start: where it failed after its start: that start as a field, (I, J, K, 3) voxels.
        error: why it failed, or empty.
    """

    registration: Registration | None
    start: NDArray[np.float32] | None = None
    error: str = ""

    def safe_field(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], str]:
        """Return the field to write and, where the registration failed, what it is instead.

        Args:
            shape: (I, J, K) of the fixed image.

        Returns:
            The registered field and "", or the start and "start", or zeros and "identity".
        """
        if self.registration is not None:
            return self.registration.displacement, ""
        if self.start is not None and self.start.shape[:3] == shape and bool(np.isfinite(self.start).all()):
            return self.start, "start"
        return np.zeros((*shape, 3), np.float32), "identity"


def attempt(
    name: str,
    read: Callable[[], ImagePair],
    config: Config,
    *,
    pool: EncoderPool,
    on_failure: OnFailure = "raise",
    on_begin: Callable[[str], None] = lambda stage: None,
) -> Attempt:
    """Register a pair; with "fallback" a failure is logged and leads to a safe field.

    Args:
        name: of the pair, for the log.
        read: gives its images.
        config: all settings.
        pool: of the whole run.
        on_failure: "raise" lets a failure through.
        on_begin: told the name of each stage.
    """
    starts: list[MakeField] = []
    try:
        found = register(read(), config, device=pool.device, pool=pool, on_stage=_follower(on_begin, starts))
    except Exception as error:
        if on_failure == "raise":
            raise
        log.error("%s failed: %s", name, error, exc_info=not isinstance(error, DataError))
        return Attempt(None, starts[-1]() if starts else None, f"{type(error).__name__}: {error}")
    if found.verdict is not None and found.verdict.grade != "good":
        log.warning("%s: %s: %s", name, found.verdict.grade, "; ".join(found.verdict.reasons))
    return Attempt(found)


def say_verdicts(entries: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Log how many pairs have which verdict, and name those that are not good.

    Args:
        entries: case -> what the manifest says of it.

    Returns:
        A fault for each pair whose verdict is `failed`.
    """
    judged = {case: entry for case, entry in entries.items() if "verdict" in entry}
    if not judged:
        return []
    by_grade = {
        grade: [case for case, entry in judged.items() if entry["verdict"] == grade]
        for grade in get_args(Grade)
    }
    words = [
        f"{len(cases)} {grade}" + (f" ({', '.join(cases)})" if grade != "good" and cases else "")
        for grade, cases in by_grade.items()
    ]
    level = logging.INFO if len(by_grade["good"]) == len(judged) else logging.WARNING
    log.log(level, "verdicts: %s", ", ".join(words))
    return [
        Fault("the registration failed", case, got="; ".join(judged[case]["verdict_reasons"]))
        for case in by_grade["failed"]
    ]


def _follower(on_begin: Callable[[str], None], starts: list[MakeField]) -> OnStage:
    def follow(event: StageBegins | StageEnded) -> None:
        if isinstance(event, StageBegins):
            on_begin(event.name)
        elif event.fallback is not None:
            starts.append(event.fallback)

    return follow
