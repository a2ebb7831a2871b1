"""Weights of `dino3d` as one safetensors file that says what network they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from dinoreg.encoders.dino3d.network import Dino3dNetwork
from dinoreg.encoders.dino3d.vit import NAME as VIT
from dinoreg.encoders.dino3d.vit import VitNetwork
from dinoreg.encoders.dino3d.volume_network import VolumeNetwork
from dinoreg.errors import WeightsError
from dinoreg.weights.safe_file import write_safetensors
from regtask.errors import Fault

FORMAT = "dino3d-1"
_KEY = "dino3d"  # a single one: safetensors writes several in any order, and the digest is to be repeatable


def write_dino3d(path: Path, network: VolumeNetwork, metadata: Mapping[str, Any]) -> None:
    """Write a network in half precision, whole or not at all; the same network gives the same bytes.

    Args:
        path: `.safetensors`.
        network: to be written.
        metadata: "spacing_mm", the voxel size it was trained around, and whatever is worth knowing of its
            origin, as JSON values.

    Raises:
        ValueError: no spacing, or a weight that half precision cannot hold.
        OutputError: the file cannot be written.
    """
    if not float(metadata.get("spacing_mm", 0)) > 0:
        raise ValueError(f"expected a spacing_mm above 0 in the metadata, got {metadata.get('spacing_mm')}")
    tensors = {
        name: value.detach().to("cpu", torch.float16, memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    lost = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if lost:
        raise ValueError(f"not finite in half precision: {', '.join(lost)}")
    described = {**metadata, "format": FORMAT, **network.described()}
    write_safetensors(path, tensors, {_KEY: json.dumps(described, sort_keys=True)})


def read_dino3d(path: Path) -> tuple[VolumeNetwork, dict[str, Any]]:
    """Read a network, in float32 and ready for use, and the metadata beside it.

    Raises:
        WeightsError: the file cannot be read, is none of this format, or its tensors are not those of the
            network that it describes.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            described = json.loads((stream.metadata() or {})[_KEY])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']}")
        if not float(described["spacing_mm"]) > 0:
            raise ValueError(f"spacing_mm {described['spacing_mm']}")
        network = _build(described)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(
            Fault("weights not readable", str(path), expected=f"format {FORMAT}", got=str(error)[:200])
        ) from error
    lost = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if lost:
        raise WeightsError(Fault("weights not finite", str(path), got=", ".join(lost)[:200]))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(Fault("weights do not fit", str(path), got=reason)) from error
    network.requires_grad_(False).eval()
    # The layout in which a CPU convolves fastest; mypy's stubs of torch do not know the argument.
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network, described


def _build(described: Mapping[str, Any]) -> VolumeNetwork:
    """A network of random weights, of the sizes that a file states: the U-Net where it names no kind."""
    if described.get("network") == VIT:
        return VitNetwork(*(int(described[key]) for key in ("patch", "width", "depth", "heads", "size")))
    if "network" in described:
        raise ValueError(f"network {described['network']}")
    return Dino3dNetwork(described["widths"], described["depths"], described["channels"])
