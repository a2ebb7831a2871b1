"""How the publishers of SAM name the tensors of the image encoder, and what these tell about its size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dinoreg.encoders.vit.layout import OF_A_FOLDER
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import Checkpoint
from regtask.errors import Fault

_ENCODER = "image_encoder."
# The other parts of SAM, which are left out.
OTHER_PARTS = ("prompt_encoder.", "mask_decoder.", "shared_image_embedding.")
# Official names -> those of transformers.
_RENAMED = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.", "layers."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"^neck\.0\.", "neck.conv1."),
    (r"^neck\.1\.", "neck.layer_norm1."),
    (r"^neck\.2\.", "neck.conv2."),
    (r"^neck\.3\.", "neck.layer_norm2."),
)


@dataclass(frozen=True, slots=True)
class SamArchitecture:
    """Size of an image encoder of SAM (Kirillov et al. 2023).

    Attributes:
        width: channels inside.
        depth: blocks.
        heads: of the attention.
        hidden: channels inside the MLPs.
        channels: of the embedding that comes out.
        grid: patches per side of the training.
        patch_size: pixels per side.
        window: patches per side of what a block looks at.
        everywhere: numbers of the blocks that look at the whole image.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    channels: int
    grid: int
    patch_size: int
    window: int
    everywhere: tuple[int, ...]


def encoder_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tensors of the image encoder under the names of transformers; other parts are left out.

    Raises:
        WeightsError: neither a file of SAM nor of its image encoder.
    """
    tensors = checkpoint.tensors
    if not any(name.startswith(_ENCODER) for name in tensors):
        raise _no_sam(checkpoint, f"names that begin with {_ENCODER}")
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(OTHER_PARTS):
            continue
        ours = name.removeprefix(_ENCODER)
        for pattern, replacement in _RENAMED:
            ours = re.sub(pattern, replacement, ours)
        found[ours] = tensor
    return found


def recognise(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> SamArchitecture:
    """Tell the architecture from the tensors of the image encoder.

    A block whose relative positions reach over the whole grid looks at everything.

    Raises:
        WeightsError: some that are needed for it are not there.
    """
    needed = {
        "pos_embed": 4,
        "patch_embed.projection.weight": 4,
        "layers.0.attn.rel_pos_h": 2,
        "layers.0.mlp.lin1.weight": 2,
        "neck.conv1.weight": 4,
    }
    lacking = [name for name, rank in needed.items() if name not in tensors or tensors[name].ndim != rank]
    if lacking:
        raise _no_sam(checkpoint, ", ".join(lacking))
    grid, width = tensors["pos_embed"].shape[2:]
    numbers = {int(match[1]) for name in tensors if (match := re.match(r"layers\.(\d+)\.", name))}
    reach = {
        n: (tensors[name].shape[0] + 1) // 2
        for n in sorted(numbers)
        if (name := f"layers.{n}.attn.rel_pos_h") in tensors
    }
    return SamArchitecture(
        width=width,
        depth=1 + max(numbers),
        heads=width // tensors["layers.0.attn.rel_pos_h"].shape[1],
        hidden=tensors["layers.0.mlp.lin1.weight"].shape[0],
        channels=tensors["neck.conv1.weight"].shape[0],
        grid=grid,
        patch_size=tensors["patch_embed.projection.weight"].shape[3],
        window=min(reach.values()),
        everywhere=tuple(n for n, size in reach.items() if size == grid),
    )


def _no_sam(checkpoint: Checkpoint, expected: str) -> WeightsError:
    got = ", ".join(list(checkpoint.tensors)[:5]) + ", ..."
    remedy = OF_A_FOLDER if any(name.startswith("vision_encoder.") for name in checkpoint.tensors) else ""
    return WeightsError(Fault("no SAM checkpoint", str(checkpoint.path), expected, got, remedy))
