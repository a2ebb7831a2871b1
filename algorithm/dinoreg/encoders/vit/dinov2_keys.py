"""DINOv2 checkpoints: which architecture a file holds, and its tensors under the names of transformers.

Oquab et al. 2023, "DINOv2: learning robust visual features without supervision"; registers: Darcet et al.
2023, "Vision transformers need registers". Names and shapes are facts of the published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from dinoreg.encoders.vit.layout import OF_A_FOLDER, Dialect, same, weight_and_bias
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import Checkpoint
from regtask.errors import Fault

_HEAD_CHANNELS = 64  # in every published variant; a checkpoint does not tell it


@dataclass(frozen=True, slots=True)
class Architecture:
    """Size of a DINOv2 transformer.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: of the attention.
        gated: SwiGLU instead of the plain MLP.
        registers: number of register tokens.
        grid: patches per side that the position embedding was trained for.
        patch_size: pixels per patch side.
    """

    width: int
    depth: int
    heads: int
    gated: bool = False
    registers: int = 0
    grid: int = 37
    patch_size: int = 14


_SIZES = (("s", 384, 12, 6), ("b", 768, 12, 12), ("l", 1024, 24, 16), ("g", 1536, 40, 24))
VARIANTS = MappingProxyType(
    {
        f"vit{letter}14{suffix}": Architecture(width, depth, heads, gated=letter == "g", registers=registers)
        for letter, width, depth, heads in _SIZES
        for suffix, registers in (("", 0), ("-reg", 4))
    }
)

_PUBLISHED: dict[str, Any] = {
    "cls": "cls_token",
    "patch": "patch_embed.proj",
    "outer": {
        "cls_token": ("embeddings.cls_token",),
        "pos_embed": ("embeddings.position_embeddings",),
        **weight_and_bias("patch_embed.proj", "embeddings.patch_embeddings.projection"),
        **weight_and_bias("norm", "layernorm"),
    },
    "block": "blocks.",
    "layers": {
        **same("norm1", "norm2"),
        "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
        "attn.proj": ("attention.o_proj",),
    },
    "mlp": same("mlp.fc1", "mlp.fc2"),
    "scales": {"ls1.gamma": ("layer_scale1.lambda1",), "ls2.gamma": ("layer_scale2.lambda1",)},
    "ignored": frozenset({"mask_token"}),
}
_OFFICIAL = Dialect(
    title="official",
    registers="register_tokens",
    gated={"mlp.w12": ("mlp.gate_proj", "mlp.up_proj"), "mlp.w3": ("mlp.down_proj",)},
    **_PUBLISHED,
)
_TIMM = Dialect(
    title="timm",
    registers="reg_token",
    gated={"mlp.fc1": ("mlp.gate_proj", "mlp.up_proj"), "mlp.fc2": ("mlp.down_proj",)},
    **_PUBLISHED,
)


def recognise(checkpoint: Checkpoint) -> tuple[Architecture, Dialect]:
    """Tell the architecture from the tensors.

    Raises:
        WeightsError: these are not the tensors of a DINOv2.
    """
    tensors = checkpoint.tensors
    dialect = _dialect(tensors)
    patch = f"{dialect.patch}.weight"
    position = next(
        name for name, target in dialect.outer.items() if target[0].endswith("position_embeddings")
    )
    needed = {
        dialect.cls: 3,
        position: 3,
        patch: 4,
        **({dialect.registers: 3} if dialect.registers in tensors else {}),
    }
    lacking = [
        name
        for name, rank in needed.items()
        if name not in tensors or tensors[name].ndim != rank or 0 in tensors[name].shape
    ]
    depth = dialect.depth(tensors)
    if lacking or depth == 0:
        raise WeightsError(
            Fault(
                "no DINOv2 checkpoint",
                str(checkpoint.path),
                expected=", ".join(lacking) or "blocks",
                got=", ".join(list(tensors)[:5]) + ", ...",
                remedy=OF_A_FOLDER if any(name.startswith("embeddings.") for name in tensors) else "",
            )
        )
    width = tensors[dialect.cls].shape[2]
    rows = tensors[position].shape[1]
    return Architecture(
        width=width,
        depth=depth,
        heads=max(1, width // _HEAD_CHANNELS),
        gated=dialect.is_gated(tensors),
        registers=tensors[dialect.registers].shape[1] if dialect.registers in tensors else 0,
        # timm's files with registers have no row for the cls token; the root of both is the grid
        grid=isqrt(rows),
        patch_size=tensors[patch].shape[3],
    ), dialect


def layout(
    architecture: Architecture, dialect: Dialect, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, ...]]:
    """List the publisher's names of a complete file -> ours; see `Dialect.layout`."""
    outer = {dialect.registers: ("embeddings.register_tokens",)} if architecture.registers else {}
    return dialect.layout(
        shapes, depth=architecture.depth, gated=architecture.gated, outer=outer, block="encoder.layer."
    )


def with_cls_position(tensors: Mapping[str, Tensor], dialect: Dialect) -> Mapping[str, Tensor]:
    """Give timm's files with registers the row of the cls token back, which timm has added to that token."""
    if dialect is not _TIMM or _TIMM.registers not in tensors:
        return tensors
    position = tensors["pos_embed"]
    return {**tensors, "pos_embed": torch.cat([torch.zeros_like(position[:, :1]), position], dim=1)}


def _dialect(tensors: Mapping[str, Tensor]) -> Dialect:
    # timm drops the mask token, which only the training needs
    official = "mask_token" in tensors or _OFFICIAL.registers in tensors
    return _OFFICIAL if official else _TIMM
