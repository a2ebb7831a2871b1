"""Device, versions and memory: facts about the machine, asked for at the edges only."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import platform
import sys
from importlib import metadata

import psutil
import torch

from dinoreg.errors import DeviceError
from regtask.errors import Fault
from regtask.untrusted.memory import free_bytes, in_words

log = logging.getLogger(__name__)

_REPORTED_PACKAGES = (
    "dinoreg",
    "torch",
    "transformers",
    "safetensors",
    "numpy",
    "scipy",
    "nibabel",
    "numba",
)
SHARE_OF_FREE = 0.8  # of the memory, that an estimate may take
_REVISION_VARIABLE = "DINOREG_REVISION"  # set by the image: the commit that it was built from


def return_freed_memory() -> None:
    """Have glibc give the volumes that were freed back to the system; no effect with other C libraries.

    It keeps them in its heap otherwise, a few hundred MiB of them after a stage.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def settle_vector_math() -> None:
    """Have torch's vector functions chosen for this processor by one thread, before several call them.

    MKL chooses its variant of a function at the first call. Where that call is made by several threads at
    once, one of them may compute with another variant: about one process in 50 then had other last digits in
    half of its first `exp`, and, through Adam, fields that differed by a tenth of a voxel where the images
    show nothing.
    """
    few = torch.full((64,), 0.5)  # too few values to be shared out among threads
    for function in (torch.exp, torch.log, torch.sin, torch.cos, torch.tanh, torch.erf, torch.sqrt):
        function(few)
        function(few.double())


def ask_for_large_pages() -> None:
    """Have torch put its volumes on large pages, where Linux offers them on request.

    A volume of many megabytes is mapped anew at every allocation, page by page: a tenth of the processor time
    of a registration. torch reads the variable when it first allocates; who has set it is left alone.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def settle_torch() -> None:
    """Settle what torch settles once, before it computes anything large."""
    ask_for_large_pages()
    settle_vector_math()


def choose_device(name: str) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda:N"; auto takes a GPU where there is one.

    What was chosen, and why, is one line of the log: a run that should have had a GPU is slow, not wrong.
    Every command begins here, so this is also where torch is made to compute alike in every process.

    Raises:
        DeviceError: the device does not exist.
    """
    settle_torch()
    if name == "auto":
        return _automatic()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(Fault("unknown device", name, expected="auto, cpu or cuda:N")) from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise DeviceError(
                Fault(
                    "no such GPU",
                    name,
                    expected=f"one of {count} visible GPUs",
                    remedy="use --device cpu, or start the container with --gpus all",
                )
            )
    elif device.type != "cpu":
        raise DeviceError(Fault("unsupported device", name, expected="auto, cpu or cuda:N"))
    log.info("device %s: as asked for", device)
    return device


def _automatic() -> torch.device:
    if torch.cuda.is_available():
        device = torch.device("cuda:0")
        log.info("device %s (%s): the first GPU there is", device, torch.cuda.get_device_name(device))
        return device
    built = torch.version.cuda is not None or torch.version.hip is not None
    why = "torch sees no GPU" if built else f"torch {torch.__version__} is built without GPU support"
    log.info("device cpu: %s", why)
    return torch.device("cpu")


def describe_machine(device: torch.device) -> dict[str, str]:
    """Return versions and hardware for the manifest, and the commit where it is known."""
    versions = {name: metadata.version(name) for name in _REPORTED_PACKAGES}
    revision = os.environ.get(_REVISION_VARIABLE, "")
    if revision not in ("", "unknown"):
        versions["commit"] = revision
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{device} ({hardware})",
        "threads": str(torch.get_num_threads()),
    }


def peak_memory_mib(device: torch.device) -> float:
    """Return the largest memory the process has held so far (on a GPU: since the last reset), MiB."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement where the platform can (GPU only)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be taken on a device; of a CPU, within the container's limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return free_bytes()


def check_memory(what: str, needed: int, device: torch.device) -> None:
    """Refuse, before it is begun, what would take more than four fifths of the free memory.

    A machine that has less than it promised ends the process instead of giving an error.

    Raises:
        torch.OutOfMemoryError: `needed` bytes are too many.
    """
    free = free_memory(device)
    if needed > SHARE_OF_FREE * free:
        raise torch.OutOfMemoryError(f"{what} take {in_words(needed)}, {in_words(free)} are free")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; for the host's, torch has no class of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def release_memory() -> None:
    """Give back what was freed, on every device, after memory ran out."""
    gc.collect()
    return_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
