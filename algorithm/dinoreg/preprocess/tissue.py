"""A CT read so that lung, soft tissue and bone keep contrast, whatever scale its values are stored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Brightness of a CT number: steep where tissues differ by little, flat where nothing lies between them.
_CURVE_HU = (-1000.0, -500.0, -150.0, -20.0, 130.0, 300.0, 1500.0)
_CURVE_BRIGHTNESS = (0.0, 0.15, 0.2, 0.4, 0.8, 0.9, 1.0)

# Where the commonest soft tissue of a CT lies; contrast agent and fat included.
_SOFT_HU = (-150.0, 150.0)
# Lung tissue, and the share of a body that it must take.
_LUNG_HU = (-950.0, -450.0)
_LEAST_LUNG = 0.05
_AIR_HU, _MUSCLE_HU = -1000.0, 40.0
# Where the other of two peaks lies, fat and muscle, as a share of the way from air to the highest one; and
# the share of that one's height it has at least: to be muscle above fat, and to show fat below muscle.
_FAT_TO_MUSCLE = 0.11, 0.22
_COMPARES, _SHOWS = 0.3, 0.1
# Values none of which is as dark as the one or brighter than the other are of a window, or normalised.
_LEAST_DARK_HU, _MOST_OF_A_BYTE = -200.0, 255.0
# Offsets that scanners and converters add so that values fit into unsigned numbers.
_KNOWN_OFFSETS = (0.0, -1024.0, -1000.0)
_BINS = 256


@dataclass(frozen=True, slots=True)
class HuScale:
    """How stored values become Hounsfield units: HU = factor * value + offset.

    Attributes:
        factor: 1 unless air and soft tissue lie at another distance than 1040.
        offset: HU.
        soft: stored value of the commonest tissue brighter than air.
    """

    factor: float
    offset: float
    soft: float


def find_hu_scale(image: NDArray[np.float32]) -> HuScale | None:
    """Tell how the values of a CT are stored from the peaks of its histogram.

    The commonest value of what is brighter than air must be soft tissue. Values as they are count first, then
    the usual offsets of unsigned storage; else air and soft tissue are laid where they belong.

    Args:
        image: as stored, of any shape; without what no scanner measured.

    Returns:
        None where the values tell of no scale: numbers from 0 to 1 or to 255 may show any window, and so may
        those of a cut without air and bone.
    """
    low, high = (float(v) for v in np.percentile(image, (0.1, 99.9)))
    if low > _LEAST_DARK_HU and high <= _MOST_OF_A_BYTE:
        return None
    if high <= low:
        return HuScale(1.0, 0.0, low)
    counts, edges = np.histogram(image, bins=_BINS, range=(low, high))
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
    centres = (edges[:-1] + edges[1:]) / 2
    # Soft tissue: the highest peak of the upper part; lung and air fill the lower one.
    upper = centres > low + 0.3 * (high - low)
    soft = float(centres[upper][smooth[upper].argmax()])
    for offset in _KNOWN_OFFSETS:
        if low + offset >= _AIR_HU - 300 and _SOFT_HU[0] <= soft + offset <= _SOFT_HU[1]:
            return HuScale(1.0, offset, soft)
    lower = centres < soft - 0.3 * (high - low)
    air = float(centres[lower][smooth[lower].argmax()]) if lower.any() else low
    from scipy.ndimage import maximum_filter1d  # a quarter of a second that few scans need

    # The highest peak is that of fat in one body, of muscle in another. It is muscle where fat shows below;
    # else muscle is a peak that compares with it, as far above it as muscle lies from fat.
    reach = soft - air
    peaks = maximum_filter1d(smooth, int(0.08 * reach / (edges[1] - edges[0])) + 1) == smooth
    away, height = (centres - soft) / reach, smooth / smooth[upper].max()
    fat_below = np.any(peaks & (height > _SHOWS) & (-away > _FAT_TO_MUSCLE[0]) & (-away < _FAT_TO_MUSCLE[1]))
    above = peaks & (height > _COMPARES) & (away > _FAT_TO_MUSCLE[0]) & (away < _FAT_TO_MUSCLE[1])
    muscle = soft if fat_below else min(centres[above].tolist(), default=soft)
    factor = (_MUSCLE_HU - _AIR_HU) / max(muscle - air, 1e-6)
    return HuScale(factor, _AIR_HU - factor * air, soft)


def shows_lung(hu: NDArray[np.float32], body: NDArray[np.bool_]) -> bool:
    """Tell whether enough of a body is lung that its contrast counts.

    Args:
        hu: (I, J, K) Hounsfield units.
        body: (I, J, K), lungs included.
    """
    lung = (hu > _LUNG_HU[0]) & (hu < _LUNG_HU[1]) & body
    return bool(np.count_nonzero(lung) > _LEAST_LUNG * np.count_nonzero(body))


def brightness_of_tissues(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map Hounsfield units to [0, 1] by a monotone curve with contrast in lung, soft tissue and bone."""
    bright: NDArray[np.float32] = np.interp(hu, _CURVE_HU, _CURVE_BRIGHTNESS).astype(np.float32)
    return bright
