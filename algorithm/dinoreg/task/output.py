"""The folder that a task's run writes to: fields, PCA bases, pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dinoreg.encoders.pca import write_basis
from dinoreg.pipeline.registration import Registration
from dinoreg.settings.config import Output
from dinoreg.task.entry import Attempt
from dinoreg.task.manifest import MANIFEST_NAME
from regtask.errors import DataError, Fault, OutputError
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.images import Volume, read_header
from regtask.names import field_names
from regtask.pair import Pair

log = logging.getLogger(__name__)


class TaskOutput:
    """What is written of each pair; a picture that fails costs a log line, not the pair."""

    def __init__(self, folder: Path, settings: Output, *, pictures: bool) -> None:
        """Take a folder; nothing is made yet."""
        self._folder, self._settings, self._pictures = folder, settings, pictures

    def make_folder(self) -> None:
        """Make the folder, if absent.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            where = str(self._folder)
            raise OutputError(Fault("output folder not usable", where, got=str(error))) from error

    def refuse_what_exists(self, pairs: Sequence[Pair]) -> None:
        """Refuse a folder that holds a manifest or a field of these pairs.

        Raises:
            OutputError: it does.
        """
        wanted = [name for pair in pairs for name in self._names(pair)]
        present = [name for name in (MANIFEST_NAME, *wanted) if (self._folder / name).exists()]
        if not present:
            return
        more = f" and {len(present) - 3} more" if len(present) > 3 else ""
        raise OutputError(
            Fault(
                "output exists already",
                str(self._folder),
                got=", ".join(present[:3]) + more,
                remedy="choose another folder, or --resume to keep what is complete",
            )
        )

    def write_field(
        self, pair: Pair, displacement: NDArray[np.float32], fixed: Grid, moving: Grid | None
    ) -> dict[str, int]:
        """Write the displacement of a pair, (I, J, K, 3) voxels; returns file name -> bytes."""
        files = {}
        for name in self._names(pair):
            path = self._folder / name
            write_field(path, displacement, fixed, moving)
            files[name] = path.stat().st_size
        return files

    def write_safe(self, pair: Pair, found: Attempt) -> tuple[dict[str, int], str]:
        """Write the start if the pair came that far, else the identity; nothing where no grid is known."""
        fixed, moving = _readable_grid(pair.fixed), _readable_grid(pair.moving)
        grid = fixed or moving
        if grid is None:
            return {}, "none"
        field, kind = found.safe_field(grid.shape)
        return self.write_field(pair, field, grid, moving), kind

    def write_bases(self, pair: Pair, result: Registration) -> None:
        """Write the PCA basis of each encoder that has one, where that is wanted."""
        if not self._settings.basis:
            return
        folder = self._folder / "basis"
        folder.mkdir(exist_ok=True)
        for n, seen in enumerate(result.evidence):
            write_basis(folder / f"{pair.fixed_id}_{pair.moving_id}_{n}.safetensors", seen.basis)

    def draw(self, pair: Pair, fixed: Volume, moving: Volume, result: Registration) -> None:
        """Draw the pictures of a pair, where they are wanted."""
        if not self._pictures:
            return
        try:
            from dinoreg.task.pictures import draw_pictures  # matplotlib only where it is wanted

            draw_pictures(self._folder / "pictures", pair, fixed, moving, result)
        except Exception:
            log.exception("%s: no picture", pair.case_key)

    def draw_missing(self, pair: Pair, entry: dict[str, Any]) -> None:
        """Draw the picture of a complete pair from its written field, where it is wanted and not there."""
        if not self._pictures:
            return
        try:
            from dinoreg.task.pictures import draw_from_field

            draw_from_field(self._folder / "pictures", pair, self._folder / next(iter(entry["files"])))
        except Exception:
            log.exception("%s: no picture", pair.case_key)

    def _names(self, pair: Pair) -> tuple[str, ...]:
        return tuple(field_names(pair.fixed_id, pair.moving_id, self._settings.naming))


def _readable_grid(path: Path) -> Grid | None:
    try:
        return read_header(path).grid
    except DataError:
        return None
