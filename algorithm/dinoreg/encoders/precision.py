"""The number format that a network computes in."""

from __future__ import annotations

import logging

import torch

log = logging.getLogger(__name__)


def compute_dtype(wanted: str, device: torch.device, *, automatic: str) -> torch.dtype:
    """Return the type that a network computes in on a device.

    A CPU computes in float32 always. bfloat16 is taken only where a GPU has it: one that emulates it is
    slower than with float32, which stands in for it.

    Args:
        wanted: "float32", "float16", "bfloat16", or "auto".
        device: where the network is.
        automatic: what "auto" stands for.
    """
    if device.type != "cuda":
        return torch.float32
    name = automatic if wanted == "auto" else wanted
    if name == "bfloat16" and not has_bfloat16():
        if wanted == "bfloat16":
            log.warning("bfloat16: this GPU does not have it, float32 is taken")
        return torch.float32
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def has_bfloat16() -> bool:
    """Tell whether the GPU computes in bfloat16 itself."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def wider(precision: torch.dtype) -> torch.dtype | None:
    """Return the type to take where values were too large for this one; None after float32."""
    if precision == torch.float16 and has_bfloat16():
        return torch.bfloat16
    return None if precision == torch.float32 else torch.float32
