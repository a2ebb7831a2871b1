"""Write `surface_distance.npz`: robust Hausdorff distances of pairs of masks, by the library itself.

    pip install --no-deps --target FOLDER surface-distance==0.1
    python make_surface_distance.py FOLDER

The library (Apache-2.0, Nikolov et al.) is what the official Learn2Reg evaluator calls, at spacing 1. It
predates NumPy 2 and SciPy's new names, which are put back for it here.
"""

import sys
import types
from pathlib import Path

import numpy as np
from scipy import ndimage

SHAPE = (14, 17, 12)
PAIRS = 40


def main() -> None:
    """Make smooth random blobs of all sizes and roughnesses, and let the library measure them."""
    sys.path.insert(0, sys.argv[1])
    vars(np).update(Inf=np.inf, NaN=np.nan)
    from surface_distance import metrics

    metrics.ndimage = types.SimpleNamespace(filters=ndimage, morphology=ndimage)
    rng = np.random.default_rng(20)
    masks, distances = [], []
    for _ in range(PAIRS):
        pair = []
        for _ in range(2):
            noise = ndimage.gaussian_filter(rng.normal(size=SHAPE), rng.uniform(0.4, 2))
            pair.append(noise > np.quantile(noise, rng.uniform(0.3, 0.98)))
        surfaces = metrics.compute_surface_distances(*pair, (1, 1, 1))
        masks.append(pair)
        distances.append(metrics.compute_robust_hausdorff(surfaces, 95.0))
    path = Path(__file__).resolve().parents[1] / "surface_distance.npz"
    np.savez_compressed(path, masks=np.packbits(masks, axis=-1), last=SHAPE[-1], distances=distances)


if __name__ == "__main__":
    main()
