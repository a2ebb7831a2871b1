"""Files of tensors, there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from regtask.atomic import atomic_path


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, contiguous and on the CPU, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    # Not `save_file`: its files are their owner's alone, and a container runs as somebody else.
    content = save(dict(tensors), dict(metadata) if metadata else None)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what a training resumes from, to be read with `weights_only`.

    Raises:
        OutputError: the file cannot be written.
    """
    # Not `torch.save` to the file: a full disk is a RuntimeError of its own there.
    content = BytesIO()
    torch.save(dict(state), content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
