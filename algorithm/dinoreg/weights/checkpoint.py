"""Reading tensors from the files that weights are published in, and renaming them strictly."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dinoreg.errors import WeightsError
from regtask.errors import Fault

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors as they are in a file.

    Attributes:
        path: where they were read.
        tensors: by the publisher's names, on the CPU.
    """

    path: Path
    tensors: Mapping[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.safetensors` file, or anything else as a torch file of tensors only.

    Raises:
        WeightsError: the file is absent, damaged, or holds something else than named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of damaged bytes the parsers make errors of ten different classes
        raise _unreadable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if not isinstance(content, dict) or not content:
        raise _unreadable(path, f"{type(content).__name__} instead of named tensors")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise _unreadable(path, f"{name!r} is {type(value).__name__}, not a tensor")
    return Checkpoint(path, content)


def convert(
    tensors: Mapping[str, Tensor],
    layout: Mapping[str, tuple[str, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    where: Path,
    ignored: Collection[str] = (),
) -> dict[str, Tensor]:
    """Rename tensors, and take apart those that hold several of ours, one after the other on the first axis.

    Args:
        tensors: by the publisher's names.
        layout: publisher's name -> our name or names. Every one has to be there and nothing else.
        shapes: our name -> shape.
        where: the file, for messages.
        ignored: the publisher's names that may be there or not and are left out.

    Returns:
        Tensors by our names; parts share memory with the whole.

    Raises:
        WeightsError: lists all that is missing, not expected, of another shape, or not finite.
    """
    missing = [name for name in layout if name not in tensors]
    unexpected = [name for name in tensors if name not in layout and name not in ignored]
    wrong: list[str] = []
    bad: list[str] = []
    converted: dict[str, Tensor] = {}
    for source, targets in layout.items():
        if source not in tensors:
            continue
        tensor = tensors[source]
        parts = [shapes[target] for target in targets]
        rows = [part[0] for part in parts]
        expected = (sum(rows), *parts[0][1:])
        if tuple(tensor.shape) != expected:
            wrong.append(f"{source} is {tuple(tensor.shape)}, not {expected}")
        elif not (tensor.is_floating_point() and bool(tensor.isfinite().all())):
            bad.append(source)
        else:
            converted.update(zip(targets, torch.split(tensor, rows), strict=True))
    faults = tensor_faults(where, missing, unexpected, wrong, bad)
    if faults:
        raise WeightsError(faults[0], *faults[1:])
    return converted


def tensor_faults(
    where: Path,
    missing: Sequence[str],
    unexpected: Sequence[str],
    wrong: Sequence[str],
    bad: Sequence[str],
) -> list[Fault]:
    """Return a fault per kind of what is wrong with tensors, each with its names."""
    return [
        Fault(what, str(where), got=_shorten(names))
        for what, names in (
            ("tensors are missing", missing),
            ("tensors are not expected", unexpected),
            ("tensors have another shape", wrong),
            ("tensors hold something else than finite numbers", bad),
        )
        if names
    ]


def _shorten(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _unreadable(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        Fault(
            "not a file of weights",
            str(path),
            expected="named tensors in a .pth or .safetensors file",
            got=reason,
        )
    )
