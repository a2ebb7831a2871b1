"""The result of a training: the averaged weights, with where they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dinoreg.encoders.dino3d.weights import write_dino3d
from dinoreg.pretrain.checkpoint import Progress
from dinoreg.pretrain.objective.learner import Learner

WEIGHTS = "encoder.safetensors"  # another name than that of the shipped weights, whose digest is pinned


def write_result(folder: Path, learner: Learner, progress: Progress) -> Path:
    """Write the averaged network as `encoder.safetensors`; its metadata hold configuration and scores."""
    config = learner.config
    metadata = {
        "spacing_mm": round(float(np.sqrt(np.prod(config.views.voxel_mm))), 2),
        "config": config.model_dump(mode="json"),
        "steps": progress.step,
        "origin": progress.origin,
        "score": progress.scores[-1] if progress.scores else {},
    }
    path = folder / WEIGHTS
    write_dino3d(path, learner.average.network, metadata)
    return path
