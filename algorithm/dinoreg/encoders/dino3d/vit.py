"""A vision transformer for volumes in the place of the U-Net, with small patches (Kats & Heinrich 2026).

Its blocks are those of DINOv3 in `transformers`: rotary positions, a gated MLP, layer scale. Positions are
turned by the three axes in turn, a third of the pairs of channels of a head each, so that any grid will do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dinoreg.encoders.dino3d.volume_network import VolumeNetwork

NAME = "vit"
_PERIODS = 10_000.0  # the slowest angle turns by about one radian in so many cells (Su et al. 2021)
_LAYER_SCALE = 0.1
_GATED_SHARE = 8 / 3  # of the width: with its gate as many weights as a plain MLP of 4
_SEEN_CELLS = 4  # of its surroundings that a tile sees besides its own


class VitNetwork(VolumeNetwork):
    """Patches and a token for the whole volume, through blocks of attention over all of them.

    Attributes:
        patch: voxels per patch and axis.
        width: channels of a token.
        depth: blocks.
        heads: of the attention; the channels of each must be a multiple of 6.
        size: voxels per axis that it was trained on.
    """

    def __init__(self, patch: int, width: int, depth: int, heads: int, size: int) -> None:
        """Build a network of random weights.

        Raises:
            ValueError: the channels of a head do not divide among three axes.
        """
        from transformers import DINOv3ViTConfig  # slow to import
        from transformers.models.dinov3_vit.modeling_dinov3_vit import DINOv3ViTLayer

        super().__init__()
        if width % heads or width // heads % 6:
            raise ValueError(f"expected 6 n channels per head, got {width} channels and {heads} heads")
        self.patch, self.width, self.depth, self.heads, self.size = patch, width, depth, heads, size
        self.stride, self.channels, self.context_channels = patch, width, width
        self.largest = size
        settings: dict[str, Any] = {
            "hidden_size": width,
            "intermediate_size": round(_GATED_SHARE * width),
            "num_attention_heads": heads,
            "use_gated_mlp": True,
            "hidden_act": "silu",
            "layerscale_value": _LAYER_SCALE,
            "attn_implementation": "sdpa",
        }
        config = DINOv3ViTConfig(**settings)
        self.patches = nn.Conv3d(1, width, patch, stride=patch)
        self.cls_token = nn.Parameter(0.02 * torch.randn(width))
        # In place of what a masked cell shows, in training (Zhou et al. 2022, iBOT).
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(DINOv3ViTLayer(config) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Identity()

    @property
    def multiple(self) -> int:
        """A patch."""
        return self.patch

    @property
    def reach(self) -> int:
        """A few patches: attention knows no bounds but those of the tile."""
        return _SEEN_CELLS * self.patch

    def levels(self, image: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Return the tokens of the patches and, as one cell, that of the whole; see `VolumeNetwork`."""
        cells = self.patches(image)
        if hidden is not None:
            cells = torch.where(hidden, self.mask_token.to(cells.dtype).view(1, -1, 1, 1, 1), cells)
        grid = cells.shape[2:]
        whole = self.cls_token.to(cells.dtype).expand(len(cells), 1, -1)
        tokens = torch.cat([whole, cells.flatten(2).mT], dim=1)
        angles = rotary_angles(grid, self.width // self.heads, image.device)
        turning = angles.cos(), angles.sin()
        for layer in self.layers:
            tokens = layer(tokens, position_embeddings=turning)
        tokens = self.norm(tokens)
        return [tokens[:, 1:].mT.unflatten(2, grid), tokens[:, 0, :, None, None, None]]

    def layer_of(self, name: str) -> int:
        """Return how deep a parameter lies: from 0, the patches, to `depth` + 1, after the last block."""
        first, _, rest = name.partition(".")
        if first == "layers":
            return 1 + int(rest.partition(".")[0])
        return self.depth + 1 if first == "norm" else 0

    def described(self) -> dict[str, Any]:
        """Return its sizes."""
        sizes = {key: getattr(self, key) for key in ("patch", "width", "depth", "heads", "size")}
        return {"network": NAME, **sizes}


def rotary_angles(grid: torch.Size, channels: int, device: torch.device) -> Tensor:
    """Return by how much each pair of channels of each token is turned, (cells, channels).

    The pairs are channel c and c + channels / 2. A third of them turns with each axis, from 1 radian per cell
    down in geometric steps.
    """
    count = channels // 6
    rates = _PERIODS ** (-torch.arange(count, dtype=torch.float32, device=device) / count)
    parts = []
    for axis, size in enumerate(grid):
        turned = torch.arange(size, dtype=torch.float32, device=device)[:, None] * rates
        along = [-1 if a == axis else 1 for a in range(3)]
        parts.append(turned.view(*along, count).expand(*grid, count))
    return torch.cat(parts, dim=-1).flatten(0, 2).repeat(1, 2)
