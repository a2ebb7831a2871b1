"""Register two scans in memory, on any grids, and apply the result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.lattice import displacement_on
from dinoreg.desk.head import find_head, put_together
from dinoreg.desk.images import read_any, read_label_map
from dinoreg.desk.linear import affine_transform, verdict_of, with_head
from dinoreg.desk.resampling import resample
from dinoreg.desk.scans import read_scan
from dinoreg.desk.transforms import Inverse, after, invert, make_transform, read_transform
from dinoreg.encoders.pool import EncoderPool
from dinoreg.guard.verdict import Verdict
from dinoreg.linear.maps import inverse
from dinoreg.pipeline.register import register as register_pair
from dinoreg.pipeline.registration import Registration
from dinoreg.preprocess.together import bring_together
from dinoreg.runtime import choose_device
from dinoreg.settings.config import Config
from dinoreg.settings.load import load_preset
from dinoreg.space.regrid import working_grid
from dinoreg.stage import OnStage
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.images import Volume
from regtask.physical import lps_to_voxels


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Two registered scans.

    Attributes:
        fixed: as it was read.
        moving: as it was read.
        displacement: (I, J, K, 3) voxels of fixed, pull; all of the transform, `before` included.
        read_on: grid in whose voxels the displaced positions are.
        transform: fixed to moving, LPS mm, for ITK, SimpleITK and 3D Slicer.
        registration: stages, plan, evidence.
        seconds: for the registration alone.
        linear: (4, 4) RAS mm of fixed to RAS mm of moving, the linear part of the transform; None where there
            is none.
        before: transform that moving was read through first, where one was given that is not linear.
    """

    fixed: Volume
    moving: Volume
    displacement: NDArray[np.float32]
    read_on: Grid
    transform: sitk.Transform
    registration: Registration
    seconds: float
    linear: NDArray[np.float64] | None = None
    before: sitk.Transform | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Whether the result can be believed, and why not."""
        return self.registration.verdict

    @property
    def warped(self) -> NDArray[np.float32]:
        """The moving image on the grid of fixed, (I, J, K)."""
        return self.apply(self.moving).data

    def apply(self, source: Any, *, labels: bool = False) -> Volume:
        """Bring anything in the space of moving to the grid of fixed.

        Args:
            source: an image as `read_any` takes it, or one that was read.
            labels: nearest neighbour, 0 outside; else linear, and outside the lowest value.

        Raises:
            DataError: it cannot be read; or, with `labels`, see `read_label_map`.
        """
        volume = read_label_map(source)[0] if labels else read_any(source)
        return resample(volume, self.fixed.grid, self.transform, labels=labels)

    def inverse(self) -> Inverse:
        """Return the way from moving to fixed, and how exact it is.

        Raises:
            DataError: the registration began from a transform that has no inverse.
        """
        if self.before is not None:
            raise DataError(
                Fault(
                    "no way back through the initial transform",
                    "inverse",
                    "an initial transform that is linear",
                    self.before.GetName(),
                )
            )
        if self.linear is not None and not self.registration.deformed:
            return Inverse(affine_transform(inverse(self.linear)), 0.0)
        return invert(self.displacement, self.fixed.grid, self.read_on, self.moving.grid, self.linear)

    def show(
        self,
        *,
        labels: Any = None,
        fixed_labels: Any = None,
        label_names: Mapping[int, str] | None = None,
        points: NDArray[np.float64] | None = None,
        path: Path | str | None = None,
    ) -> None:
        """Show the report: in a notebook as the output of the cell, else in the browser.

        Args:
            labels: a label map of moving, to be outlined there and, brought along, on fixed.
            fixed_labels: a label map of fixed.
            label_names: label -> name.
            points: of fixed, (N, 3) LPS mm.
            path: file to keep the page in.

        Raises:
            DataError: a label map cannot be read.
            OutputError: the file cannot be written.
        """
        from dinoreg.desk.report import points_of, show_result  # matplotlib only where it is wanted
        from dinoreg.desk.view import view

        stored = None if labels is None else read_label_map(labels)[0]
        shown = show_result(
            self,
            labels={} if stored is None else {"": (stored, self.apply(stored, labels=True))},
            fixed_labels=None if fixed_labels is None else read_label_map(fixed_labels)[0],
            label_names=label_names,
            points=points_of(
                {} if points is None else {"": points}, self.transform, self.fixed.grid, self.moving.grid
            ),
        )
        view(shown, None if path is None else Path(path))


def register(
    fixed: Any,
    moving: Any,
    preset: str = "auto",
    *,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    config: Config | None = None,
    overrides: Sequence[str] = (),
    fixed_modality: str = "",
    moving_modality: str = "",
    fixed_series: str = "",
    moving_series: str = "",
    initial: Any = None,
    device: str = "auto",
    on_stage: OnStage = lambda event: None,
) -> Result:
    """Register two scans on any grids.

    Args:
        fixed: a path, a nibabel or SimpleITK image, or (array, affine to RAS); see `read_any`.
        moving: likewise.
        preset: the settings; see `dinoreg presets`.
        fixed_mask: what counts, in any of these forms, on any grid; by default found in the image.
        moving_mask: likewise.
        config: settings instead of a preset.
        overrides: "key=value" on top of the preset.
        fixed_modality: "CT" or "MR" where it is known; else the values decide.
        moving_modality: likewise.
        fixed_series: UID of the series that is meant, of a DICOM folder with several.
        moving_series: likewise.
        initial: transform to begin from, an ITK one or the path of one, from points of fixed to points of
            moving.
        device: "auto", "cpu" or "cuda:N".
        on_stage: told when each stage begins and ends.

    Raises:
        TaskError: see its kinds; a message says what was wrong, where, and what to do.
    """
    settings = with_head(config or load_preset(preset, overrides))
    begin_from = read_transform(Path(initial)) if isinstance(initial, str | Path) else initial
    here, one = read_scan(fixed, "fixed", mask=fixed_mask, modality=fixed_modality, series=fixed_series)
    there, other = read_scan(
        moving, "moving", mask=moving_mask, modality=moving_modality, series=moving_series
    )
    pool = EncoderPool(choose_device(device))
    begin = time.perf_counter()
    head = find_head(one, other, settings, begin_from, on_stage)
    together = bring_together(one, head.moving, placed=head.matrix is not None)
    found = register_pair(together.pair, head.config, device=pool.device, pool=pool, on_stage=on_stage)
    found = replace(found, stages=(*head.stages, *found.stages))
    way = put_together(together, found, head.matrix, head.moving_grid)
    transform = make_transform(way.displacement, here.grid, way.read_on, way.linear)
    if way.linear is not None and not found.deformed:
        transform = affine_transform(way.linear)
        found = replace(found, verdict=verdict_of(together.pair, settings.preprocess))
    displacement, read_on = way.displacement, way.read_on
    if head.before is not None:
        transform = after(head.before, transform)
        read_on = working_grid(here.grid, there.grid)
        displacement = lps_to_voxels(displacement_on(transform, here.grid), here.grid, read_on)
    seconds = time.perf_counter() - begin
    return Result(here, there, displacement, read_on, transform, found, seconds, way.linear, head.before)
