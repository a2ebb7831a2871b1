"""Triton where it is installed; torch brings it along in its builds for CUDA on Linux alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None

__all__ = ["jit", "tl", "triton"]


def jit(*, numbers: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a kernel, or of what kernels call; without Triton it changes nothing.

    Args:
        numbers: arguments that a kernel is not compiled anew for, as Triton does for 1 and for multiples of
            16: sizes differ from pair to pair, and compiling takes longer than a stage.
    """
    if triton is None:
        return lambda function: function
    decorator: Callable[[Callable[..., Any]], Any] = triton.jit(do_not_specialize=tuple(numbers))
    return decorator
