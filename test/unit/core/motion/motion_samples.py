"""Small sequences whose motion is known."""

import numpy as np

from dinoreg.motion.cines.cine import Cine
from dinoreg.motion.cines.sequences import LabelledCine
from dinoreg.motion.settings import load_motion_config
from regtask.grid import Grid

SHAPE, SPACING = (40, 52), (1.5, 2.0)

TINY = (
    "encoder.width=16",
    "encoder.dilations=[1, 2]",
    "window.pixels=32",
    "window.side_mm=60.0",
    "landmarks.count=16",
    "landmarks.decoder=[16]",
    "landmarks.prior_width=0.12",
    "training.frames=4",
    "training.checkpoint_every=5",
)


def tiny_config(*overrides):
    return load_motion_config(overrides=(*TINY, *overrides))


def moving_disc(frames=6, *, labelled=(0, 3)):
    """A textured disc that shifts and shrinks; its outline at some frames."""
    x, y = np.meshgrid(*(np.arange(n) * size for n, size in zip(SHAPE, SPACING, strict=True)), indexing="ij")
    images, masks = [], []
    for number in range(frames):
        phase = np.sin(np.pi * number / frames)
        cx, cy, radius = 30 + 4 * phase, 50 - 3 * phase, 16 - 3 * phase
        distance = np.hypot(x - cx, y - cy) / radius
        images.append(500 + 900 / (1 + np.exp(8 * (distance - 1))) + 200 * np.cos(3 * distance))
        masks.append(distance < 1)
    grid = Grid((*SHAPE, frames), np.diag([*SPACING, 1.0, 1.0]))
    cine = Cine(np.stack(images).astype(np.float32), SPACING, grid, 2)
    labels = {number: masks[number].astype(np.int16) for number in labelled}
    return LabelledCine("disc", cine, 0, labels)
