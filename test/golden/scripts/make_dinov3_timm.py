"""Write test/golden/dinov3_timm.npz: tokens of DINOv3 transformers with random weights, computed by timm.

Run as make_dinov2_timm.py:
    python test/golden/scripts/make_dinov3_timm.py test/golden/dinov3_timm.npz
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import torchvision_stub

torchvision_stub.install()

import timm  # noqa: E402
from dinov2_reference import digest, slices  # noqa: E402
from dinov3_reference import CASES, HEAD_CHANNELS, PATCH, REGISTERS, SHAPE, official_state  # noqa: E402
from timm.layers import LayerNorm  # noqa: E402
from timm.models.eva import Eva, checkpoint_filter_fn  # noqa: E402


def make_model(case: str) -> Eva:
    """Build timm's model with the settings of its DINOv3 variants; weights through timm's own conversion."""
    width, depth, gated, biased = CASES[case]
    model = Eva(
        patch_size=PATCH,
        dynamic_img_size=True,
        embed_dim=width,
        depth=depth,
        num_heads=width // HEAD_CHANNELS,
        num_classes=0,
        global_pool="token",
        qkv_bias=biased,
        init_values=1.0,
        rope_type="dinov3",
        rope_temperature=100,
        rope_rotate_half=True,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        num_reg_tokens=REGISTERS,
        use_fc_norm=False,
        norm_layer=partial(LayerNorm, eps=1e-5),
        **({"swiglu_mlp": True, "swiglu_align_to": 8, "mlp_ratio": 2} if gated else {}),
    )
    tensors = {name: torch.from_numpy(array) for name, array in official_state(case).items()}
    model.load_state_dict(checkpoint_filter_fn(tensors, model), strict=True)
    return model.eval()


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output

    batch = slices(SHAPE)
    arrays = {"version": np.array(timm.__version__), "slices_digest": np.array(digest(batch))}
    for case in CASES:
        arrays[f"{case}_digest"] = np.array(digest(*official_state(case).values()))
        with torch.no_grad():
            tokens = make_model(case).forward_features(torch.from_numpy(batch).expand(-1, 3, -1, -1)).numpy()
        arrays[f"{case}_cls"], arrays[f"{case}_patches"] = tokens[:, 0], tokens[:, 1 + REGISTERS :]
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    main()
