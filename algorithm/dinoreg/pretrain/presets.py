"""Named configurations of a pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# "unet": ours, every default. "vit": what Kats & Heinrich 2026 publish, as far as two views of one anatomy
# can have it (docs/encoder.md).
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "unet": {},
        "vit": {
            "description": "A 3D vision transformer by self-distillation, after Kats & Heinrich 2026.",
            "vit": {},
            "views": {
                "size": 128,
                "voxel_mm": [1.5, 1.5],
                "shift": [0.0, 0.0, 0.0],
                "elastic": [],
                "wavelength": [],
                "mirrored": 0.5,
                "hidden_borders": [0.0, 0.0, 0.0],
                "other_patient": 0.0,
            },
            "contrastive": {"weight": 0.0, "coarse_weight": 0.0},
            "dino": {
                "weight": 1.0,
                "prototypes": 8192,
                "dense_weight": 0.0,
                "koleo_weight": 0.1,
                "teacher_temperature": [0.04, 0.07],
                "teacher_warmup": 1 / 3,
                "momentum": [0.992, 0.998],
                "centring": "mean",
                "mask_share": [0.4, 0.7],
                "mask_block": 4,
            },
            "training": {
                "steps": 150_000,
                "batch": 4,
                "learning_rate": 1e-3,
                "weight_decay": 0.04,
                "weight_decay_last": 0.4,
                "layer_decay": 0.9,
                "max_gradient": 3.0,
            },
        },
    }
)
