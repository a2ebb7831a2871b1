"""The number format that a network computes in."""

from __future__ import annotations

import torch


def compute_dtype(wanted: str, device: torch.device, *, automatic: str) -> torch.dtype:
    """Return the type that a network computes in on a device.

    A CPU computes in float32 always. bfloat16 is taken automatically only where a GPU has it: one that
    emulates it is slower than with float32.

    Args:
        wanted: "float32", "float16", "bfloat16", or "auto".
        device: where the network is.
        automatic: what "auto" stands for.
    """
    if device.type != "cuda":
        return torch.float32
    if wanted == "auto":
        wanted = automatic
        if wanted == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            wanted = "float32"
    chosen: torch.dtype = getattr(torch, wanted)
    return chosen
