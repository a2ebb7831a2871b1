"""One image, ready to be encoded: intensities in [0, 1], background 0, foreground as a weight."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from dinoreg.preprocess.field_of_view import continue_values
from dinoreg.preprocess.foreground import content_box, ct_body, threshold_foreground
from dinoreg.preprocess.intensity import Family, Kind, clip_mr, image_family, image_kind, window_ct
from dinoreg.preprocess.measured import fill_missing, missing_voxels
from dinoreg.preprocess.pair import Scan
from dinoreg.preprocess.tissue import HuScale, brightness_of_tissues, find_hu_scale, shows_lung
from dinoreg.settings.config import Preprocess
from dinoreg.space.working import WorkingGrid


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image as the encoder sees it.

    Attributes:
        values: (I, J, K) float32; [0, 1] where normalised, 0 outside the foreground but for `beyond`.
        foreground: (I, J, K) bool.
        content: the smallest box outside which `values` is constant or beyond the field of view.
        identity: digest of values and foreground, by which features of images that come again are remembered;
            empty: they are not.
        family: of modalities, whose intensities can be compared with one another.
        beyond: (I, J, K) bool, no foreground, where `values` go on beyond the field of view; None where they
            are not to, and its end shows as an edge.
    """

    values: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    content: tuple[slice, ...]
    identity: str = ""
    family: Family = "unknown"
    beyond: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of an image are to be read.

    Attributes:
        kind: of image that they are of.
        family: of modalities.
        scale: by which those of a CT become Hounsfield units; None where none is looked for, or found.
    """

    kind: Kind
    family: Family
    scale: HuScale | None = None


def _read_as(
    image: Float32[np.ndarray, "*s"],
    modality: str,
    settings: Preprocess,
    invalid: Bool[np.ndarray, "*s"] | None,
) -> Reading:
    """Tell how values are to be read; of the arguments `prepare_image` says more."""
    kind, family = image_kind(modality, image), image_family(modality, image)
    if kind != "ct" or settings.ct != "tissues":
        return Reading(kind, family)
    missing = missing_voxels(image, kind, invalid)
    return Reading(kind, family, find_hu_scale(image if missing is None else image[~missing]))


def prepare_scan(scan: Scan, settings: Preprocess) -> PreparedImage:
    """Normalise a scan; see `prepare_image`. The whole that it was cut from tells how it is to be read."""
    whole = scan.whole or scan
    return prepare_image(
        scan.values,
        settings,
        modality=scan.modality,
        mask=scan.mask,
        comes_again=scan.comes_again,
        invalid=_without_value(scan, settings),
        reading=_read_as(whole.values, scan.modality, settings, _without_value(whole, settings)),
    )


def _without_value(scan: Scan, settings: Preprocess) -> NDArray[np.bool_] | None:
    if settings.beyond_view != "continued" or scan.beside is None:
        return scan.invalid
    return scan.beside if scan.invalid is None else scan.beside | scan.invalid


def prepare_image(
    image: Float32[np.ndarray, "*s"],
    settings: Preprocess,
    *,
    modality: str,
    mask: Bool[np.ndarray, "*s"] | None,
    comes_again: bool = False,
    invalid: Bool[np.ndarray, "*s"] | None = None,
    reading: Reading | None = None,
) -> PreparedImage:
    """Normalise one image by what it is and find its foreground.

    Voxels without a measurement are no foreground, whatever its source, and no percentile sees them.

    Args:
        image: (I, J, K), as stored.
        settings: windows, percentile, source of the foreground.
        modality: as the dataset JSON names it; decides between CT and MR, else the values do.
        mask: the task's mask, if it has one.
        comes_again: whether other pairs have this image too, so that its features are worth keeping.
        invalid: (I, J, K), where the file has no value (`regtask.Volume.invalid`).
        reading: how the values are to be read, where that is known; by default they tell.
    """
    reading = reading or _read_as(image, modality, settings, invalid)
    kind, scale = reading.kind, reading.scale
    missing = missing_voxels(image, kind, invalid)
    if missing is not None:
        image = fill_missing(image, missing)
    if kind == "ct" and settings.ct == "tissues" and scale is None:
        kind = "mr"  # no threshold or window in HU means anything then: the values' own range does
    if scale is not None:
        image = (scale.factor * image + np.float32(scale.offset)).astype(np.float32)
    if settings.foreground == "none":
        foreground = np.ones(image.shape, dtype=bool)
    elif mask is not None and settings.foreground != "threshold":
        foreground = mask
    elif settings.foreground in ("task", "task-or-all"):
        foreground = np.ones(image.shape, dtype=bool)
    elif settings.foreground == "body" and kind == "ct":
        foreground = ct_body(image, missing)
    else:
        foreground = threshold_foreground(image, kind, missing)
    inside = foreground if missing is None else foreground & ~missing
    kept = settings.background == "kept"
    values = image
    if settings.normalise and kind == "ct" and settings.ct == "tissues" and shows_lung(image, inside):
        values = brightness_of_tissues(image)
    elif settings.normalise and kind == "ct":
        values = window_ct(image, level_hu=settings.ct_level_hu, width_hu=settings.ct_width_hu)
    elif settings.normalise:
        values = clip_mr(image, percentile=settings.mr_percentile, foreground=None if kept else inside)
    # On the scale of the file 0 may be anything: there the lowest value stands for what is missing.
    shown = inside if settings.normalise else foreground
    if not kept and not shown.all():
        values = np.where(shown, values, np.float32(0))
    prepared = PreparedImage(values, inside, content_box(values), "", reading.family)
    if settings.beyond_view == "continued":
        prepared = continued(prepared, np.zeros(image.shape, bool) if missing is None else missing)
    return replace(prepared, identity=_digest(prepared.values, inside) if comes_again else "")


def on_working_grid(image: PreparedImage, grid: WorkingGrid) -> PreparedImage:
    """Bring a prepared image to a working grid; a voxel is foreground where more than half of it is."""
    values = grid.resample(torch.from_numpy(image.values).unsqueeze(0))[0].contiguous().numpy()
    share = grid.resample(torch.from_numpy(image.foreground).float().unsqueeze(0))[0]
    foreground = (share > 0.5).contiguous().numpy()
    beyond = None
    if image.beyond is not None:
        beyond = (grid.resample(torch.from_numpy(image.beyond).float()[None])[0] > 0.5).contiguous().numpy()
    values = np.where(foreground, values, np.float32(0)) if is_blanked(image) else values
    identity = f"{image.identity} on {grid}" if image.identity else ""
    return continued(PreparedImage(values, foreground, content_box(values), identity, image.family), beyond)


def is_blanked(image: PreparedImage) -> bool:
    """Tell whether everything but the foreground, and what goes on from it, is 0."""
    shown = image.foreground if image.beyond is None else image.foreground | image.beyond
    return not shown.all() and not image.values[~shown].any()


def continued(image: PreparedImage, beyond: NDArray[np.bool_] | None) -> PreparedImage:
    """Let the values of an image, which has none there yet, go on beyond its field of view.

    Args:
        image: (I, J, K).
        beyond: (I, J, K); None where they are not to.
    """
    if beyond is None:
        return image
    beyond = beyond & ~image.foreground
    if beyond.all() or not beyond.any():
        return replace(image, beyond=beyond)
    content = content_box(np.where(beyond, np.float32(0), image.values))
    return replace(image, values=continue_values(image.values, beyond), content=content, beyond=beyond)


def _digest(*arrays: NDArray[np.generic]) -> str:
    """Not the file's name: how an image was prepared, and by which mask, decides what its features are."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
