"""Write test/golden/convexadam.npz: what the package convexAdam 0.2.0 finds, at its defaults.

Run in an environment that has that package and nothing of ours:
    /opt/ref/bin/python test/golden/scripts/make_convexadam.py test/golden/convexadam.npz
"""

import argparse
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from convexAdam.convex_adam_MIND import convex_adam_pt
from scipy import ndimage

SHAPE = (27, 31, 38)  # no multiples of the package's cells of 6 and 2 voxels
KEPT_STRIDE = 3


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output

    rng = np.random.default_rng(7)
    moving = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    moving = np.round(255 * (moving - moving.min()) / np.ptp(moving))
    bend = [2.5 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 6.0) for _ in SHAPE]
    offsets = [b / np.abs(b).max() * 2 + s for b, s in zip(bend, (2.0, -3.0, 4.0), strict=True)]
    positions = np.indices(SHAPE) + np.array(offsets)
    fixed = np.round(ndimage.map_coordinates(moving, positions, order=1, mode="nearest"))

    images = [image.astype(np.float32) for image in (fixed, moving)]
    displacement = convex_adam_pt(*images, dtype=torch.float32, device=torch.device("cpu"))
    kept = np.asarray(displacement)[(slice(None, None, KEPT_STRIDE),) * 3]
    np.savez_compressed(
        output,
        fixed=fixed.astype(np.uint8),
        moving=moving.astype(np.uint8),
        displacement=kept.astype(np.float32),
        stride=np.array(KEPT_STRIDE),
        version=np.array(metadata.version("convexAdam")),
    )


if __name__ == "__main__":
    main()
