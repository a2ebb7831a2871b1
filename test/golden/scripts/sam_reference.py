"""What both sides of the SAM comparison start from, in numpy only; see `dinov2_reference`."""

import numpy as np
from dinov2_reference import Draw

PATCH = 16
HEAD_CHANNELS = 64
# name -> width, depth, grid of the training, window, blocks that look at everything, output channels
CASES = {
    "tiny": (128, 4, 8, 3, (1, 3), 32),
    "vit_b": (768, 12, 64, 14, (2, 5, 8, 11), 256),
}
KEPT = 83  # of the true ViT-B every 83rd position is kept, coprime to the row length
SAM_MEAN = (123.675, 116.28, 103.53)  # of red, green and blue on a scale to 255
SAM_DEVIATION = (58.395, 57.12, 57.375)


def official_state(case: str) -> dict[str, np.ndarray]:
    """Random weights of an image encoder under the official keys, and one of each other part."""
    width, depth, grid, window, everywhere, out = CASES[case]
    draw = Draw(f"sam {case}", width)
    name = "image_encoder."
    state = {name + "pos_embed": draw.uniform(1, grid, grid, width)}
    state |= draw.layer(name + "patch_embed.proj", width, 3, PATCH, PATCH)
    for i in range(depth):
        block = f"{name}blocks.{i}."
        reach = grid if i in everywhere else window
        state |= draw.norm(block + "norm1") | draw.layer(block + "attn.qkv", 3 * width, width)
        state |= draw.layer(block + "attn.proj", width, width)
        for side in "hw":
            state[f"{block}attn.rel_pos_{side}"] = draw.uniform(2 * reach - 1, HEAD_CHANNELS, spread=0.3)
        state |= draw.norm(block + "norm2") | draw.layer(block + "mlp.lin1", 4 * width, width)
        state |= draw.layer(block + "mlp.lin2", width, 4 * width)
    for n, (fan_in, side) in ((0, (width, 1)), (2, (out, 3))):
        spread = np.sqrt(3 / (fan_in * side**2))
        state[f"{name}neck.{n}.weight"] = draw.uniform(out, fan_in, side, side, spread=spread)
        state[f"{name}neck.{n + 1}.weight"] = draw.uniform(out, centre=1, spread=0.3)
        state[f"{name}neck.{n + 1}.bias"] = draw.uniform(out, spread=0.2)
    state["prompt_encoder.no_mask_embed.weight"] = draw.uniform(1, out)
    state["mask_decoder.iou_token.weight"] = draw.uniform(1, out)
    return state


def colours(slices: np.ndarray) -> np.ndarray:
    """Slices (B, 1, H, W) in [0, 1] as SAM takes them, (B, 3, H, W)."""
    mean, deviation = (np.array(v).reshape(3, 1, 1) for v in (SAM_MEAN, SAM_DEVIATION))
    return ((255.0 * slices - mean) / deviation).astype(np.float32)
