"""A scan as it is registered: read from anywhere, with what counts of it."""

from __future__ import annotations

from typing import Any, Literal

from dinoreg.desk.exchange.parts import identity
from dinoreg.desk.images import read_any
from dinoreg.desk.resampling import resample
from dinoreg.preprocess.pair import Scan
from regtask.errors import Fault, SpaceError
from regtask.images import Volume


def read_scan(
    source: Any, role: Literal["fixed", "moving"], *, mask: Any, modality: str, series: str
) -> tuple[Volume, Scan]:
    """Read a scan that is to be registered.

    Args:
        source: as `read_any` takes it.
        role: of the scan, for messages.
        mask: what counts, as `read_any` takes it, on any grid; None: it is found.
        modality: "CT" or "MR" where it is known, else empty.
        series: UID of the series that is meant, of a DICOM folder with several; else empty.

    Returns:
        The volume, and the same with what is known of it.

    Raises:
        DataError: it cannot be read.
        SpaceError: no voxel of the mask lies inside.
    """
    volume = read_any(source, series=series, what=f"{role} image", option=f"--{role}-series")
    inside = None
    if mask is not None:
        inside = resample(read_any(mask, what=f"{role} mask"), volume.grid, identity(), labels=True).data > 0
        if not inside.any():
            raise SpaceError(Fault("mask without a voxel inside the image", f"{role} mask"))
    return volume, Scan(volume.data, volume.grid, modality, inside, volume.invalid, name=role)
