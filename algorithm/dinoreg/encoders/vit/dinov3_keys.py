"""DINOv3 checkpoints: which architecture a file holds, and its tensors under the names of transformers.

Siméoni et al. 2025, "DINOv3". Names and shapes are facts of the published files; the files themselves are
under Meta's own licence, so they are neither shipped nor fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dinoreg.encoders.vit.layout import Dialect, same, weight_and_bias
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import Checkpoint
from regtask.errors import Fault

_PERIODS = "rope_embed.periods"
_BASE = 100.0  # of the rotary periods, in every published variant


@dataclass(frozen=True, slots=True)
class Dinov3Architecture:
    """Size of a DINOv3 transformer.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: of the attention.
        hidden: channels inside the MLP.
        gated: SwiGLU instead of the plain MLP.
        registers: number of register tokens.
        patch_size: pixels per patch side.
        biases: which of the query, key and value layers have a bias.
        base: of the periods of the rotary position embedding.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    gated: bool
    registers: int
    patch_size: int
    biases: tuple[bool, bool, bool]
    base: float = _BASE


_OFFICIAL = Dialect(
    title="official",
    cls="cls_token",
    registers="storage_tokens",
    patch="patch_embed.proj",
    outer={
        "cls_token": ("embeddings.cls_token",),
        **weight_and_bias("patch_embed.proj", "embeddings.patch_embeddings"),
        **weight_and_bias("norm", "norm"),
    },
    block="blocks.",
    layers={
        **same("norm1", "norm2"),
        "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
        "attn.proj": ("attention.o_proj",),
    },
    mlp={"mlp.fc1": ("mlp.up_proj",), "mlp.fc2": ("mlp.down_proj",)},
    gated={"mlp.w1": ("mlp.gate_proj",), "mlp.w2": ("mlp.up_proj",), "mlp.w3": ("mlp.down_proj",)},
    scales={"ls1.gamma": ("layer_scale1.lambda1",), "ls2.gamma": ("layer_scale2.lambda1",)},
    ignored=frozenset({"mask_token", _PERIODS, "local_cls_norm.weight", "local_cls_norm.bias"}),
)
_PROJECTIONS = tuple(f"attention.{name}_proj" for name in "qkv")
_TRANSFORMERS: dict[str, Any] = {
    "cls": "embeddings.cls_token",
    "registers": "embeddings.register_tokens",
    "patch": "embeddings.patch_embeddings",
    "outer": {
        **same("embeddings.cls_token"),
        **weight_and_bias("embeddings.patch_embeddings", "embeddings.patch_embeddings"),
        **weight_and_bias("norm", "norm"),
    },
    "layers": same("norm1", "norm2", *_PROJECTIONS, "attention.o_proj"),
    "mlp": same("mlp.up_proj", "mlp.down_proj"),
    "gated": same("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    "scales": same("layer_scale1.lambda1", "layer_scale2.lambda1"),
    "ignored": frozenset({"embeddings.mask_token"}),
}
_SAVED = Dialect(title="transformers", block="layer.", **_TRANSFORMERS)
_IN_MEMORY = Dialect(title="transformers 5", block="model.layer.", **_TRANSFORMERS)


def recognise(checkpoint: Checkpoint) -> tuple[Dinov3Architecture, Dialect]:
    """Tell the architecture from the tensors, and what these do not hold from `config.json`.

    Raises:
        WeightsError: these are not the tensors of a DINOv3.
    """
    tensors, config = checkpoint.tensors, checkpoint.config or {}
    dialect = next((d for d in (_SAVED, _IN_MEMORY) if f"{d.block}0.norm1.weight" in tensors), _OFFICIAL)
    gated = dialect.is_gated(tensors)
    wide = f"{dialect.block}0.{next(iter(dialect.gated if gated else dialect.mlp))}.weight"
    needed = {dialect.cls: 3, f"{dialect.patch}.weight": 4, wide: 2}
    if dialect is _OFFICIAL:
        needed[_PERIODS] = 1
    lacking = [
        name
        for name, rank in needed.items()
        if name not in tensors or tensors[name].ndim != rank or 0 in tensors[name].shape
    ]
    if dialect is not _OFFICIAL and "num_attention_heads" not in config:
        lacking.append("num_attention_heads in config.json")
    if lacking:
        raise WeightsError(
            Fault(
                "no DINOv3 checkpoint",
                str(checkpoint.path),
                expected=", ".join(lacking),
                got=", ".join(list(tensors)[:5]) + ", ...",
            )
        )
    width = tensors[dialect.cls].shape[2]
    if dialect is _OFFICIAL:
        heads = width // (4 * len(tensors[_PERIODS]))
        biases = (f"{dialect.block}0.attn.qkv.bias" in tensors,) * 3
    else:
        heads = int(config["num_attention_heads"])
        query, key, value = (f"{dialect.block}0.{name}.bias" in tensors for name in _PROJECTIONS)
        biases = (query, key, value)
    registers = tensors.get(dialect.registers)
    return Dinov3Architecture(
        width=width,
        depth=dialect.depth(tensors),
        heads=heads,
        hidden=tensors[wide].shape[0],
        gated=gated,
        registers=0 if registers is None else registers.shape[1],
        patch_size=tensors[f"{dialect.patch}.weight"].shape[3],
        biases=biases,
        base=float(config.get("rope_theta", _BASE)),
    ), dialect


def layout(
    architecture: Dinov3Architecture, dialect: Dialect, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, ...]]:
    """List the publisher's names of a complete file -> ours; see `Dialect.layout`."""
    outer = {dialect.registers: ("embeddings.register_tokens",)} if architecture.registers else {}
    return dialect.layout(
        shapes, depth=architecture.depth, gated=architecture.gated, outer=outer, block="model.layer."
    )


def with_masked_bias(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Apply the masks of the official files, which switch the bias of the keys off, and drop them."""
    result = {name: tensor for name, tensor in tensors.items() if not name.endswith(".bias_mask")}
    for name, mask in tensors.items():
        bias = name.removesuffix("_mask")
        if name.endswith(".bias_mask") and bias in result and result[bias].shape == mask.shape:
            result[bias] = result[bias] * mask
    return result


def inverse_periods(architecture: Dinov3Architecture, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the frequencies of the rotary position embedding, (head channels / 4,) float32.

    The official files hold the periods, rounded as they were in the training; else base^(-i / n).
    """
    if _PERIODS in tensors:
        return 1 / tensors[_PERIODS].float()
    n = architecture.width // architecture.heads // 4
    return architecture.base ** -(torch.arange(n, dtype=torch.float32) / n)
