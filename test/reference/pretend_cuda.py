"""A CUDA device that is only pretended: what would break, or wait, on a GPU, found without one.

Tensors that say `cuda:0` hold a CPU tensor and compute with it. An operation that mixes them with tensors of
the host is refused, as CUDA refuses it, and everything for which a GPU and the host would wait for each other
is noted with the place in the library that asked for it. Kernels, speed and memory are not pretended.

    with pretended_cuda() as waits:
        register(pair, config, device=CUDA)
    print(waits)
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

import dinoreg
from dinoreg.space.coords import _on_device
from dinoreg.space.kernels import choice

CUDA = torch.device("cuda:0")
_HOST = torch.device("cpu")
_LIBRARY = f"{Path(dinoreg.__file__).parent}/"
_aten = torch.ops.aten
_TRANSFERS = {_aten._to_copy.default, _aten.copy_.default}
# Indices may lie on the host: CUDA copies them, and waits.
_INDEXING = {
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}
# Their value, or the size of their result, is needed on the host.
_ANSWERS = {
    _aten._local_scalar_dense.default,
    _aten.equal.default,
    _aten.is_nonzero.default,
    _aten.masked_select.default,
    _aten.nonzero.default,
    _aten._unique2.default,
}

Kind = Literal["to the device", "to the host", "answer"]


@dataclass(frozen=True, slots=True)
class Wait:
    """A copy or a question for which the host and the device wait for each other.

    Attributes:
        kind: of it.
        file: of the library's innermost named function on the stack, below its folder; empty outside of it.
        function: its name.
        line: in the file.
        within: all functions of the library on the stack, outermost first.
    """

    kind: Kind
    file: str
    function: str
    line: int
    within: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}, line {self.line}"

    @property
    def place(self) -> str:
        """File and function: what stays when lines move."""
        return f"{self.file} {self.function}"


class MixedDevices(RuntimeError):
    """An operation on tensors of the pretended device and of the host."""


Waits = Counter[Wait]


class _Pretended(torch.Tensor):
    """A tensor of the pretended device; for torch's own code, one of the host, so that autograd works."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "_Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=_HOST,
            dispatch_device=True,
        )
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    def __repr__(self, **_: object) -> str:
        return f"pretended({self.inner!r})"

    def to(self, *args, **kwargs):
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        moved = _ToHost.apply(self) if device is not None and device.type == "cpu" else self
        return torch.Tensor.to(moved, dtype or moved.dtype, copy=bool(kwargs.get("copy")))

    def cpu(self, *_: object):
        return self.to("cpu")

    def cuda(self, *_: object, **__: object):
        return self

    def new_tensor(self, values, *, dtype=None, device=None, **_: object):
        return torch.tensor(values, dtype=dtype or self.dtype, device=device or CUDA)

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, *_: object, **__: object):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _ToHost(torch.autograd.Function):
    """The copy to the host, through which gradients go as well."""

    @staticmethod
    def forward(ctx, values):
        _note("to the host")
        return values.inner.detach().clone()

    @staticmethod
    def backward(ctx, gradient):
        return _Pretended(gradient)


class _Mode(TorchDispatchMode):
    """Sees operations without a tensor of the device too: those that make one."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _ToAnother(TorchFunctionMode):
    """Sees a tensor of the host that is brought to where another one is, which torch takes for the host."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], _Pretended):
            args = (args[0], CUDA, args[1].dtype, *args[2:])
        return func(*args, **(kwargs or {}))


def _enter_without_gradients(self) -> None:
    """Stand in for inference mode, which does not take wrapped tensors."""
    self._instead = torch.no_grad()
    self._instead.__enter__()


def _leave(self, *error: object) -> None:
    self._instead.__exit__(*error)


_notes: list[Waits] = []


@contextmanager
def pretended_cuda() -> Iterator[Waits]:
    """Have a device `cuda:0`, and note what waits for it."""
    waits: Waits = Counter()
    patches = {
        "_lazy_init": lambda: None,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "empty_cache": lambda: None,
        "get_device_name": lambda device=None: "pretended",
        "is_available": lambda: True,
        "is_bf16_supported": lambda *args, **kwargs: True,
        "is_initialized": lambda: True,
        "max_memory_allocated": lambda device=None: 0,
        "mem_get_info": lambda device=None: (70 << 30, 80 << 30),
        "memory_allocated": lambda device=None: 0,
        "memory_reserved": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "synchronize": lambda device=None: None,
    }
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    lift = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=cuda) copies where it is seen
    _forget()  # what other tests found, on a GPU perhaps
    _notes.append(waits)
    try:
        with (
            mock.patch.dict(os.environ, {choice.SWITCH: "0"}),
            mock.patch.multiple(torch.cuda, **patches),
            mock.patch.multiple(torch.inference_mode, __enter__=_enter_without_gradients, __exit__=_leave),
            _Mode(),
            _ToAnother(),
        ):
            yield waits
    finally:
        _notes.remove(waits)
        _forget()
        torch._C._set_only_lift_cpu_tensors(lift)
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)


def _forget() -> None:
    """Forget what is kept per device."""
    _on_device.cache_clear()
    choice._on_device.cache_clear()


def _run(func, args, kwargs):
    flat, spec = tree_flatten((args, kwargs))
    on_device = any(isinstance(value, _Pretended) for value in flat)
    wanted = kwargs.get("device")
    wanted = None if wanted is None else torch.device(wanted).type
    if on_device:
        _check(func, flat)
    elif wanted != "cuda":
        return func(*args, **kwargs)
    elif func in _TRANSFERS:
        _note("to the device")
    bare = [value.inner if isinstance(value, _Pretended) else value for value in flat]
    args, kwargs = tree_unflatten(bare, spec)
    if wanted == "cuda":
        kwargs = {**kwargs, "device": _HOST}
    kwargs = {name: value for name, value in kwargs.items() if name not in ("pin_memory", "non_blocking")}
    result = func(*args, **kwargs)
    # What is changed in place stays the tensor that it is.
    same = {id(value.inner): value for value in flat if isinstance(value, _Pretended)}
    return tree_map_only(
        torch.Tensor, lambda value: same[id(value)] if id(value) in same else _Pretended(value), result
    )


def _check(func, flat: list[object]) -> None:
    on_host = [
        value
        for value in flat
        if isinstance(value, torch.Tensor) and not isinstance(value, _Pretended) and value.ndim > 0
    ]
    if func is _aten.copy_.default:
        if on_host:
            _note("to the host" if on_host[0] is flat[0] else "to the device")
    elif on_host and func in _INDEXING and all(value.dtype in (torch.long, torch.bool) for value in on_host):
        _note("to the device")
    elif on_host:
        shapes = [tuple(value.shape) for value in on_host]
        raise MixedDevices(f"{func}: expected all tensors on cuda:0, found some of shapes {shapes} on cpu")
    if func in _ANSWERS or (func in _INDEXING and _by_mask(flat)):
        _note("answer")


def _by_mask(flat: list[object]) -> bool:
    return any(isinstance(value, torch.Tensor) and value.dtype == torch.bool for value in flat[1:])


def _note(kind: Kind) -> None:
    frames = []
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        # Comprehensions are functions of their own in some versions of Python only.
        if path.startswith(_LIBRARY) and not frame.f_code.co_name.startswith("<"):
            frames.append((path.removeprefix(_LIBRARY), frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    within = tuple(f"{file} {function}" for file, function, _ in reversed(frames))
    place = frames[0] if frames else ("", "", 0)
    for waits in _notes:
        waits[Wait(kind, *place, within)] += 1
