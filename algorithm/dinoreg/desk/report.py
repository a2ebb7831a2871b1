"""The page of two registered scans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.result_files import PICTURE, REPORT
from dinoreg.desk.transforms import transform_points
from dinoreg.guard.verdict import Verdict
from dinoreg.report.page import Page, Points, Shown, make_page
from dinoreg.report.page.layers import in_layers, point_names
from dinoreg.space.regrid import regrid
from regtask.atomic import atomic_path, atomic_write_text
from regtask.grid import Grid
from regtask.images import Volume
from regtask.physical import to_voxels


class Registered(Protocol):
    """What a page needs of `dinoreg.desk.register.Result`."""

    @property
    def fixed(self) -> Volume:
        """As it was read."""

    @property
    def moving(self) -> Volume:
        """As it was read."""

    @property
    def warped(self) -> NDArray[np.float32]:
        """Moving on the grid of fixed, (I, J, K)."""

    @property
    def displacement(self) -> NDArray[np.float32]:
        """(I, J, K, 3) voxels of fixed, pull."""

    @property
    def read_on(self) -> Grid:
        """Grid in whose voxels the displaced positions are."""

    @property
    def transform(self) -> sitk.Transform:
        """Fixed to moving, LPS mm."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the result can be believed."""


def show_result(
    result: Registered,
    *,
    title: str = "",
    labels: Mapping[str, tuple[Volume, Volume]] | None = None,
    fixed_labels: Volume | None = None,
    label_names: Mapping[int, str] | None = None,
    points: Points | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Shown:
    """Gather what a page shows of a result.

    Args:
        result: of the registration.
        title: names the pair; by default the names of its files, where the facts have them.
        labels: name -> a label map of moving as it is, and brought to fixed.
        fixed_labels: one of fixed, on any grid.
        label_names: label -> name; several label maps are named by theirs.
        points: of fixed.
        facts: as in register.json, for the table.
    """
    fixed, moving = result.fixed.grid, result.moving.grid
    verdict = result.verdict
    layers = in_layers(
        {
            name: (labels_on(drawn, moving), brought.data.astype(np.int32))
            for name, (drawn, brought) in (labels or {}).items()
        }
    )
    return Shown(
        title=title or title_of(facts or {}),
        fixed=result.fixed,
        moving=result.moving,
        warped=result.warped,
        displacement=result.displacement,
        read_on=result.read_on,
        fixed_labels=None if fixed_labels is None else labels_on(fixed_labels, fixed),
        moving_labels=None if layers is None else layers.moving,
        warped_labels=None if layers is None else layers.warped,
        label_names=(None if layers is None else layers.names) or label_names or {},
        points=points,
        facts=fact_rows(facts or {}),
        verdict="" if verdict is None else verdict.grade,
        reasons=() if verdict is None else verdict.reasons,
    )


def points_of(
    sets: Mapping[str, NDArray[np.float64]], transform: sitk.Transform, fixed: Grid, moving: Grid
) -> Points | None:
    """Return points of fixed with where a transform takes them; None where there are none.

    Args:
        sets: name -> points, (N, 3) LPS mm.
        transform: fixed to moving, LPS mm.
        fixed: grid of the fixed image.
        moving: grid of the moving image.
    """
    if not sets:
        return None
    lps = np.concatenate(list(sets.values()))
    moved = transform_points(transform, lps)
    return Points(to_voxels(lps, fixed, "lps"), to_voxels(moved, moving, "lps"), names=point_names(sets))


def labels_on(labels: Volume, grid: Grid) -> NDArray[np.int32]:
    """Read a label map on another grid of the same scanner space."""
    return regrid(labels.data, labels.grid, grid, order=0, outside=0.0).astype(np.int32)


def title_of(facts: Mapping[str, Any]) -> str:
    """Return the names of the two scans that register.json states, fixed first."""
    inputs = facts.get("inputs", {})
    names = [Path(inputs[role]["path"]).name if role in inputs else role for role in ("fixed", "moving")]
    return " ← ".join(names)


def fact_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what register.json says as a table for people."""
    rows = {
        f"{role} image": str(facts["inputs"][role]["path"])
        for role in ("fixed", "moving")
        if role in facts.get("inputs", {})
    }
    if "grids_differ" in facts:
        rows["grids"] = facts["grids_differ"] or "the same"
    if "inverse_residual_mm" in facts:
        rows["inverse, 99 % of the voxels within"] = f"{facts['inverse_residual_mm']} mm"
    if "config" in facts:
        rows["preset"] = str(facts["config"].get("name", ""))
    if "seconds" in facts:
        rows["seconds"] = str(facts["seconds"])
    return rows


def write_report(folder: Path, shown: Shown) -> Page:
    """Write the page and the static picture of a pair into its folder.

    Raises:
        OutputError: they cannot be written.
    """
    page = make_page(shown)
    with atomic_path(folder / PICTURE) as temporary:
        temporary.write_bytes(page.picture)
    atomic_write_text(folder / REPORT, page.text)
    return page
