"""Images of an anatomy: CT, T2-weighted MR and cone-beam CT."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dinoreg.phantom.body.anatomy import Anatomy
from dinoreg.phantom.body.tissues import Tissue, organ_of_tissue
from dinoreg.phantom.deformation import SmoothDeformation
from dinoreg.phantom.imaging.cone_beam import field_of_view, shading, streaks
from dinoreg.phantom.imaging.intensities import CT_HU, T2_UNITS, intensity_table
from dinoreg.phantom.imaging.rasterise import rasterise
from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.points import Floats

Modality = Literal["CT", "MR", "CBCT"]
MODALITIES: tuple[Modality, ...] = ("CT", "MR", "CBCT")  # index in the dataset JSON
CBCT_RADIUS_MM = 126.0
CBCT_OUTSIDE_HU = -1000.0
_BLUR_VOXELS = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class RenderedImage:
    """One image with what is known about it.

    Attributes:
        intensities: (I, J, K) HU for CT and CBCT, arbitrary units for MR.
        organs: (I, J, K) organ labels at the voxel centres, 0 outside the field of view.
        mask: (I, J, K) 1 inside the body and the field of view, else 0.
    """

    intensities: NDArray[np.float32]
    organs: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def render(
    modality: Modality,
    anatomy: Anatomy,
    deformation: SmoothDeformation,
    lattice: Lattice,
    rng: np.random.Generator,
) -> RenderedImage:
    """Make an image of an anatomy, deformed.

    Convention: the image shows at x the anatomy of deformation(x); texture moves with the tissue, noise
    and artefacts do not.

    Args:
        modality: one of `MODALITIES`.
        anatomy: the patient.
        deformation: image position -> anatomy position, mm; `SmoothDeformation()` for none.
        lattice: voxels of the image.
        rng: source of noise and artefacts.

    Raises:
        ValueError: unknown modality.
    """
    if modality not in MODALITIES:
        raise ValueError(f"modality: expected one of {MODALITIES}, got {modality!r}")
    table = intensity_table(T2_UNITS if modality == "MR" else CT_HU)
    raster = rasterise(anatomy, deformation, lattice, table)
    clean = raster.means[..., 0] + raster.means[..., 1] * raster.texture
    clean = gaussian_filter(clean, _BLUR_VOXELS, mode="nearest")
    body = raster.tissues != Tissue.AIR
    organs = organ_of_tissue()[raster.tissues]
    if modality == "CT":
        return RenderedImage(_ct(clean, rng), organs, body.astype(np.uint8))
    if modality == "MR":
        return RenderedImage(_mr(clean, lattice, rng), organs, body.astype(np.uint8))
    seen = field_of_view(lattice, CBCT_RADIUS_MM)
    return RenderedImage(
        _cbct(clean, body, seen, lattice, rng),
        np.where(seen, organs, 0).astype(np.uint8),
        (body & seen).astype(np.uint8),
    )


def _noise(
    shape: tuple[int, ...], deviation: float, correlation_voxels: float, rng: np.random.Generator
) -> Floats:
    """Draw Gaussian noise of the given standard deviation after smoothing."""
    noise: Floats = gaussian_filter(rng.normal(size=shape), correlation_voxels)
    return noise * (deviation / float(noise.std()))


def _ct(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    noisy = clean + _noise(clean.shape, 15.0, 0.45, rng)
    return np.maximum(noisy, -1024).astype(np.float32)


def _mr(clean: NDArray[np.float32], lattice: Lattice, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add a coil's bias field and Rician noise."""
    u, v, w = (np.linspace(-1, 1, n) for n in lattice.shape)
    a = rng.uniform(-0.18, 0.18, size=6)
    bias = np.exp(
        a[0] * u[:, None, None] + a[1] * v[:, None] + a[2] * w
        + a[3] * u[:, None, None] * v[:, None] + a[4] * v[:, None] * w + a[5] * u[:, None, None] ** 2
        - 0.25 * w**2
    )  # fmt: skip
    real = clean * bias + rng.normal(scale=16.0, size=clean.shape)
    magnitude: Floats = np.hypot(real, rng.normal(scale=16.0, size=clean.shape))
    return magnitude.astype(np.float32)


def _cbct(
    clean: NDArray[np.float32],
    body: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    lattice: Lattice,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Miscalibrate, streak, shade, add noise and truncate."""
    image = 0.86 * clean - 45 + 44 * streaks(clean, body, lattice) + shading(lattice, rng, CBCT_RADIUS_MM)
    image = image + _noise(clean.shape, 40.0, 0.6, rng)
    return np.where(seen, np.maximum(image, -1024), CBCT_OUTSIDE_HU).astype(np.float32)
