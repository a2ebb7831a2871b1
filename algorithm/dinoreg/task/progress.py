"""Progress of a run: a bar with pair, stage and time left on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)


class RunProgress:
    """Use as a context around the loop over pairs."""

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs
        self._done = 0
        self._begin = time.perf_counter()
        self._bar = tqdm(total=pairs, unit="pair", disable=not sys.stderr.isatty(), dynamic_ncols=True)
        self._redirect = logging_redirect_tqdm() if not self._bar.disable else None

    def __enter__(self) -> Self:
        if self._redirect is not None:
            self._redirect.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._redirect is not None:
            self._redirect.__exit__(kind, value, traceback)

    def stage(self, case: str, name: str) -> None:
        """Show what runs now."""
        self._bar.set_description_str(f"{case}  {name}")

    def pair_done(self, case: str, outcome: str) -> None:
        """Count a pair, and log it with the time left."""
        self._done += 1
        self._bar.update()
        elapsed = time.perf_counter() - self._begin
        left = elapsed / self._done * (self._pairs - self._done)
        log.info("pair %d/%d  %s  %s  (%.0f s left)", self._done, self._pairs, case, outcome, left)
