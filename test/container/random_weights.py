"""Small checkpoints with random values, under the keys and shapes of official ones."""

import sys
from pathlib import Path

import torch

_WIDTH, _DEPTH = 384, 12  # ViT-S/14


def random_vit_small(registers=4):
    """A state dict with the keys and shapes of dinov2_vits14_reg4_pretrain.pth and random values.

    Without registers, of dinov2_vits14_pretrain.pth.
    """
    generator = torch.Generator().manual_seed(0)

    def values(*shape):
        return torch.randn(shape, generator=generator) * 0.05

    state = {
        "cls_token": values(1, 1, _WIDTH),
        "pos_embed": values(1, 1 + 37 * 37, _WIDTH),
        "mask_token": values(1, _WIDTH),
        "patch_embed.proj.weight": values(_WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": values(_WIDTH),
        "norm.weight": 1 + values(_WIDTH),
        "norm.bias": values(_WIDTH),
    }
    if registers:
        state["register_tokens"] = values(1, registers, _WIDTH)
    linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for block in (f"blocks.{number}." for number in range(_DEPTH)):
        for name in ("norm1", "norm2"):
            state |= {f"{block}{name}.weight": 1 + values(_WIDTH), f"{block}{name}.bias": values(_WIDTH)}
        for name, (out, into) in linear.items():
            state[f"{block}{name}.weight"] = values(out * _WIDTH, into * _WIDTH)
            state[f"{block}{name}.bias"] = values(out * _WIDTH)
        state |= {f"{block}ls1.gamma": 1 + values(_WIDTH), f"{block}ls2.gamma": 1 + values(_WIDTH)}
    return state


def random_sam():
    """A small image encoder under the keys of SAM."""
    scripts = str(Path(__file__).parents[1] / "golden" / "scripts")
    sys.path.insert(0, scripts)
    try:
        from sam_reference import official_state
    finally:
        sys.path.remove(scripts)
    return {name: torch.from_numpy(array) for name, array in official_state("tiny").items()}
