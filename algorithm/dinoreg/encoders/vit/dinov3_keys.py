"""DINOv3 checkpoints: which architecture a file holds, and its tensors under the names of transformers.

Siméoni et al. 2025, "DINOv3". Names and shapes are facts of the published files; the files themselves are
under Meta's own licence, so they are neither shipped nor fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dinoreg.encoders.vit.layout import OF_A_FOLDER, Dialect, same, weight_and_bias
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import Checkpoint
from regtask.errors import Fault

_PERIODS = "rope_embed.periods"


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
    """

    width: int
    depth: int
    heads: int
    hidden: int
    gated: bool
    registers: int
    patch_size: int
    biases: tuple[bool, bool, bool]


OFFICIAL = Dialect(
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


def recognise(checkpoint: Checkpoint) -> Dinov3Architecture:
    """Tell the architecture from the tensors.

    Raises:
        WeightsError: these are not the tensors of a DINOv3.
    """
    tensors = checkpoint.tensors
    gated = OFFICIAL.is_gated(tensors)
    wide = f"{OFFICIAL.block}0.{next(iter(OFFICIAL.gated if gated else OFFICIAL.mlp))}.weight"
    needed = {OFFICIAL.cls: 3, f"{OFFICIAL.patch}.weight": 4, wide: 2, _PERIODS: 1}
    lacking = [
        name
        for name, rank in needed.items()
        if name not in tensors or tensors[name].ndim != rank or 0 in tensors[name].shape
    ]
    if lacking:
        raise WeightsError(
            Fault(
                "no DINOv3 checkpoint",
                str(checkpoint.path),
                expected=", ".join(lacking),
                got=", ".join(list(tensors)[:5]) + ", ...",
                remedy=OF_A_FOLDER if any(name.startswith("embeddings.") for name in tensors) else "",
            )
        )
    width = tensors[OFFICIAL.cls].shape[2]
    registers = tensors.get(OFFICIAL.registers)
    return Dinov3Architecture(
        width=width,
        depth=OFFICIAL.depth(tensors),
        heads=width // (4 * len(tensors[_PERIODS])),
        hidden=tensors[wide].shape[0],
        gated=gated,
        registers=0 if registers is None else registers.shape[1],
        patch_size=tensors[f"{OFFICIAL.patch}.weight"].shape[3],
        biases=(f"{OFFICIAL.block}0.attn.qkv.bias" in tensors,) * 3,
    )


def layout(
    architecture: Dinov3Architecture, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, ...]]:
    """List the publisher's names of a complete file -> ours; see `Dialect.layout`."""
    outer = {OFFICIAL.registers: ("embeddings.register_tokens",)} if architecture.registers else {}
    return OFFICIAL.layout(
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


def inverse_periods(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the frequencies of the rotary position embedding, (head channels / 4,) float32.

    The official files hold the periods, rounded as they were in the training.
    """
    return 1 / tensors[_PERIODS].float()
