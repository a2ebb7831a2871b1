"""Writing safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
