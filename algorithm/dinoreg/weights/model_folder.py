"""What a Hugging Face folder says about its model, beside the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dinoreg.errors import WeightsError
from regtask.errors import Fault


def check_config(folder: Path, config: Mapping[str, Any], expected: Mapping[str, object]) -> None:
    """Compare settings that the tensors do not show with those the model is built with.

    Args:
        folder: for messages.
        config: content of `config.json`; a setting that it does not state is taken as expected.
        expected: setting -> value.

    Raises:
        WeightsError: lists every setting that differs.
    """
    faults = [
        Fault(
            "another setting than the encoder's",
            f"{folder / 'config.json'}, {key}",
            str(value),
            str(config[key]),
        )
        for key, value in expected.items()
        if key in config and config[key] != value
    ]
    if faults:
        raise WeightsError(faults[0], *faults[1:])
