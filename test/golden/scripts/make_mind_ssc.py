"""Write test/golden/mind_ssc.npz: MIND-SSC of a small random image by the package convexAdam 0.2.0.

Run in an environment that has that package and nothing of ours:
    /opt/ref/bin/python test/golden/scripts/make_mind_ssc.py test/golden/mind_ssc.npz
"""

import argparse
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from convexAdam.convex_adam_utils import MINDSSC

SHAPE = (8, 9, 11)
SETTINGS = ((1, 2), (2, 2))  # radius, dilation


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output

    image = np.random.default_rng(1).uniform(0, 1, SHAPE).astype(np.float32)
    image[:, :, :5] *= 0.01  # weak enough that the variance is clamped there
    arrays = {"image": image, "version": np.array(metadata.version("convexAdam"))}
    for radius, dilation in SETTINGS:
        features = MINDSSC(torch.from_numpy(image)[None, None], radius, dilation, device="cpu")[0]
        arrays[f"radius_{radius}_dilation_{dilation}"] = features.numpy()
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    main()
