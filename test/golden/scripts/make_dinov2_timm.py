"""Write test/golden/dinov2_timm.npz: tokens of DINOv2 transformers with random weights, computed by timm.

Run in an environment that has torch 2.13.0, timm 1.0.31 and nothing of ours; torchvision, which timm imports
but does not need for this, may be absent:
    python test/golden/scripts/make_dinov2_timm.py test/golden/dinov2_timm.npz

timm's own interpolation of the position embedding is the official one for models with registers only. The
others get the position embedding that is computed in `dinov2_reference` from the official formula.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import torchvision_stub

torchvision_stub.install()

import timm  # noqa: E402
from dinov2_reference import (  # noqa: E402
    CASES,
    KEPT,
    NATIVE,
    NATIVE_CASES,
    NON_SQUARE,
    PATCH,
    digest,
    official_state,
    slices,
    stretch_position,
)
from timm.layers import SwiGLUPacked  # noqa: E402
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn  # noqa: E402

_REAL = {"vits14": "vit_small_patch14_dinov2", "vits14_reg": "vit_small_patch14_reg4_dinov2"}


def make_model(case: str, shape: tuple[int, int]) -> VisionTransformer:
    """Build timm's model for a size of slices and give it the weights, through timm's own conversion."""
    width, depth, registers, gated = CASES[case]
    state = official_state(case)
    # With registers timm interpolates as the official code does; without, it is given a table that fits.
    size = {"dynamic_img_size": True} if registers else {"img_size": shape}
    if not registers and shape != NATIVE:
        state["pos_embed"] = stretch_position(state["pos_embed"], tuple(n // PATCH for n in shape))
    if case in _REAL:
        model = timm.create_model(_REAL[case], pretrained=False, num_classes=0, **size)
    else:
        mlp = {}
        if gated:
            ratio = state["blocks.0.mlp.w12.bias"].size / width
            mlp = {"mlp_ratio": ratio, "mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
        options = {"img_size": NATIVE, "patch_size": PATCH, "init_values": 1.0, "num_classes": 0} | mlp | size
        with_registers = {"reg_tokens": registers, "no_embed_class": True} if registers else {}
        model = VisionTransformer(
            embed_dim=width, depth=depth, num_heads=width // 64, **options, **with_registers
        )
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    model.load_state_dict(checkpoint_filter_fn(tensors, model), strict=True)
    return model.eval()


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output

    arrays = {"version": np.array(timm.__version__)}
    for case, (_, _, registers, _) in CASES.items():
        arrays[f"{case}_digest"] = np.array(digest(*official_state(case).values()))
        for kind, shape in (("native", NATIVE), ("non_square", NON_SQUARE)):
            if kind == "native" and case not in NATIVE_CASES:
                continue
            batch = slices(shape)
            with torch.no_grad():
                tokens = make_model(case, shape).forward_features(
                    torch.from_numpy(batch).expand(-1, 3, -1, -1)
                )
            tokens = tokens.numpy()
            patches = tokens[:, 1 + registers :: KEPT if kind == "native" else 1]
            arrays[f"{case}_{kind}_cls"], arrays[f"{case}_{kind}_patches"] = tokens[:, 0], patches
            arrays[f"{kind}_slices_digest"] = np.array(digest(batch))
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    main()
