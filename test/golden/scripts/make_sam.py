"""Write test/golden/sam.npz: embeddings of SAM image encoders with random weights, by segment-anything.

Run in an environment that has torch 2.13.0, segment-anything 1.0 and nothing of ours; torchvision, which it
imports but does not need for this, may be absent:
    python test/golden/scripts/make_sam.py test/golden/sam.npz

The true ViT-B sees a slice of 1024 x 1024; only a sample of its output is stored.
"""

import argparse
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import torchvision_stub

torchvision_stub.install()

from dinov2_reference import digest, slices  # noqa: E402
from sam_reference import CASES, HEAD_CHANNELS, KEPT, PATCH, colours, official_state  # noqa: E402
from segment_anything import sam_model_registry  # noqa: E402
from segment_anything.modeling import ImageEncoderViT  # noqa: E402


def make_encoder(case: str) -> torch.nn.Module:
    """Build the image encoder with its weights; ViT-B as segment-anything itself builds it."""
    width, depth, grid, window, everywhere, out = CASES[case]
    if case == "vit_b":
        encoder = sam_model_registry["vit_b"]().image_encoder
    else:
        encoder = ImageEncoderViT(
            img_size=grid * PATCH,
            patch_size=PATCH,
            embed_dim=width,
            depth=depth,
            num_heads=width // HEAD_CHANNELS,
            out_chans=out,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=window,
            global_attn_indexes=everywhere,
        )
    prefix = "image_encoder."
    tensors = {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in official_state(case).items()
        if name.startswith(prefix)
    }
    encoder.load_state_dict(tensors, strict=True)
    return encoder.eval()


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output

    arrays = {"version": np.array(version("segment-anything"))}
    for case, (_, _, grid, _, _, _) in CASES.items():
        batch = slices((grid * PATCH, grid * PATCH))
        batch = batch[:1] if case == "vit_b" else batch
        arrays[f"{case}_digest"] = np.array(digest(*official_state(case).values()))
        arrays[f"{case}_slices_digest"] = np.array(digest(batch))
        with torch.no_grad():
            found = make_encoder(case)(torch.from_numpy(colours(batch))).numpy()
        arrays[case] = found.reshape(*found.shape[:2], -1)[..., :: KEPT if case == "vit_b" else 1]
    np.savez_compressed(output, **arrays)


if __name__ == "__main__":
    main()
