"""What a configuration becomes for two images of two families of modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dinoreg.settings.config import Config, Intensity


def for_families(config: Config, fixed: str, moving: str) -> Config:
    """Return a configuration, between two families without what helps within one alone.

    Between a CT and an MR a function can explain much of the variance, by air and fat and soft tissue, and
    still tell nothing of where one organ ends: measured intensities are left out. And where a field of view
    goes on, features of the two differ more than at an edge that both may show: it ends as a body does.

    Args:
        config: all settings.
        fixed: family of the modality of fixed, stated or by its values, such as "ct"; "unknown" may be any.
        moving: likewise.
    """
    if fixed == moving or "unknown" in (fixed, moving):
        return config
    if config.preprocess.beyond_view == "continued":
        ended = config.preprocess.model_copy(update={"beyond_view": "blank"})
        config = config.model_copy(update={"preprocess": ended})
    if config.features.intensities != "measured":
        return config
    kept = [not isinstance(encoder, Intensity) for encoder in config.features.encoders]

    def of_kept(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(value for value, keep in zip(values, kept, strict=True) if keep)

    def without(stage: Any) -> Any:
        weights = getattr(stage, "weights", ())
        left = of_kept(weights) if weights else ()
        changes: dict[str, Any] = {"weights": left if any(left) else ()} if weights else {}
        if getattr(stage, "trusted_regularity_weight", None) is not None:
            changes["trusted_regularity_weight"] = None
        return stage.model_copy(update=changes)

    encoders = of_kept(config.features.encoders)
    features = config.features.model_copy(update={"encoders": encoders, "intensities": "settings"})
    stages = {key: tuple(map(without, getattr(config, key))) for key in ("start", "discrete", "adam")}
    return config.model_copy(update={"features": features, "detail": None, **stages})
