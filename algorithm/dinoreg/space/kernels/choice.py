"""Which kernels a device has: numba's on a CPU; on CUDA Triton's where they prove right, else plain torch."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from dinoreg.space.kernels import fields
from dinoreg.space.kernels.gpu.driver_link import prepare_link

log = logging.getLogger(__name__)

SWITCH = "DINOREG_TRITON"  # 0: plain torch on CUDA devices


class _Found(NamedTuple):
    """Whether Triton's kernels can be used on a device, in words too, and how loud that is to be said."""

    usable: bool
    words: str
    level: int = logging.INFO


def on_gpu(device: torch.device) -> bool:
    """Tell whether Triton's kernels, `space.kernels.gpu`, compute on a device.

    At the first call for a device they are compiled and compared with torch: seconds.
    """
    return device.type == "cuda" and _on_device(device).usable


def on_cpu(*volumes: Tensor) -> bool:
    """Tell whether the compiled kernels take volumes, (C, I, J, K) each: single precision, no gradients."""
    return all(
        v.ndim == 4 and v.dtype == torch.float32 and v.device.type == "cpu" and not v.requires_grad
        for v in volumes
    )


def field_kernels(displacement: Tensor) -> ModuleType | None:
    """Return `space.kernels.fields` or `space.kernels.gpu.launch`, or None where torch computes.

    Either takes a displacement (3, I, J, K) of float32, on the CPU and on a GPU with Triton.
    """
    vectors = displacement.ndim == 4 and len(displacement) == 3 and displacement.numel() > 0
    if not vectors or displacement.dtype != torch.float32:
        return None
    if displacement.device.type == "cpu":
        return fields
    if not on_gpu(displacement.device):
        return None
    from dinoreg.space.kernels.gpu import launch

    return launch if launch.fits(displacement) else None


def describe_kernels(device: torch.device) -> str:
    """Return what computes on a device, and why not Triton: for the manifest."""
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return "numba" if device.type != "cuda" else _on_device(device).words


@lru_cache(maxsize=16)
def _on_device(device: torch.device) -> _Found:
    found = _look(device)
    log.log(found.level, "kernels on %s: %s", device, found.words)
    return found


def _look(device: torch.device) -> _Found:
    if os.environ.get(SWITCH, "1") == "0":
        return _Found(False, f"torch ({SWITCH} is 0)")
    prepare_link()
    from dinoreg.space.kernels.gpu import language  # Triton: seconds that only a GPU is worth

    if language.triton is None:
        return _Found(False, "torch (Triton is not installed)")
    name = f"Triton {language.triton.__version__}"
    try:
        from dinoreg.space.kernels.gpu.check import check_kernels

        with torch.inference_mode(False), torch.enable_grad():
            check_kernels(device)
    except Exception as error:  # whatever it is: torch computes the same, only slower
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return _Found(False, f"torch ({name} is not used: {why})", logging.WARNING)
    return _Found(True, name)
