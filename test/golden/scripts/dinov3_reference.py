"""What both sides of the DINOv3 comparison start from, in numpy only; see `dinov2_reference`."""

import numpy as np
from dinov2_reference import Draw

PATCH = 16
# name -> width, depth, gated, with a bias of query, key and value
CASES = {
    "tiny": (128, 3, False, True),
    "tiny_gated": (128, 2, True, True),
    "tiny_unbiased": (128, 2, True, False),
}
SHAPE = (3 * PATCH, 5 * PATCH)
REGISTERS = 4
HEAD_CHANNELS = 64


def official_state(case: str) -> dict[str, np.ndarray]:
    """Random weights under the official keys; the bias of the keys is masked, as in the published files."""
    width, depth, gated, biased = CASES[case]
    draw = Draw(f"dinov3 {case}", width)
    quarter = HEAD_CHANNELS // 4
    state = {
        "cls_token": draw.uniform(1, 1, width),
        "storage_tokens": draw.uniform(1, REGISTERS, width),
        "mask_token": draw.uniform(1, width),
        "rope_embed.periods": (100 ** (np.arange(quarter) / quarter)).astype(np.float32),
        **draw.layer("patch_embed.proj", width, 3, PATCH, PATCH),
    }
    hidden = 2 * width if gated else 4 * width
    for i in range(depth):
        block = f"blocks.{i}."
        state |= draw.norm(block + "norm1") | draw.layer(block + "attn.qkv", 3 * width, width)
        if biased:
            state[block + "attn.qkv.bias_mask"] = np.repeat(np.float32([1, 0, 1]), width)
        else:
            del state[block + "attn.qkv.bias"]
        state |= draw.layer(block + "attn.proj", width, width)
        state[block + "ls1.gamma"] = draw.scale()
        state |= draw.norm(block + "norm2")
        if gated:
            state |= draw.layer(block + "mlp.w1", hidden, width) | draw.layer(block + "mlp.w2", hidden, width)
            state |= draw.layer(block + "mlp.w3", width, hidden)
        else:
            state |= draw.layer(block + "mlp.fc1", hidden, width)
            state |= draw.layer(block + "mlp.fc2", width, hidden)
        state[block + "ls2.gamma"] = draw.scale()
    return state | draw.norm("norm")
