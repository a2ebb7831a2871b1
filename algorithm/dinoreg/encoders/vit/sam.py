"""The image encoder of SAM and MedSAM as a slice encoder, on top of the model of transformers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SamVisionConfig, SamVisionModel

from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.vit.pretrained import load_pretrained
from dinoreg.encoders.vit.sam_keys import OTHER_PARTS, SamArchitecture, encoder_tensors, recognise
from dinoreg.encoders.vit.slice_input import patch_grid
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import convert, read_checkpoint
from dinoreg.weights.model_folder import read_config
from regtask.errors import Fault

log = logging.getLogger(__name__)

# What a checkpoint was trained on: "sam": intensities to 255, less mean, by deviation; "medsam": [0, 1].
Intensities = Literal["sam", "medsam"]

# Of red, green and blue to 255 (Kirillov et al. 2023).
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)
_EPSILON = 1e-6


class SamEncoder(SliceEncoder):
    """Image embedding after the neck; instead of a cls token, which SAM has none of, its mean over the slice.

    Kirillov et al. 2023; Ma et al. 2024 for MedSAM, the same network on other intensities. SAM knows one
    size, 1024 x 1024 pixels. Here a slice of any size is taken as it is, without padding: the position
    embedding is interpolated bicubically, and so are, linearly, the relative positions of the blocks that
    look at everything, as SAM's own code does where their number does not fit. At the size of the training
    nothing is interpolated. Frozen, like `Dinov2Encoder`; gradients with respect to the slices flow.

    Attributes:
        architecture: of the transformer.
        intensities: what the checkpoint takes.
    """

    def __init__(self, model: nn.Module, architecture: SamArchitecture, intensities: Intensities) -> None:
        super().__init__()
        self.architecture = architecture
        self.patch_size = architecture.patch_size
        self.channels = architecture.channels
        self.intensities = intensities
        # The relative positions are a bias of the whole size, beside which the scores may exist.
        self.square_matrices = 2 * architecture.heads
        # transformers carries no types here
        self.model: Any = model

    @property
    def width(self) -> int:
        """Channels inside, of which the neck makes fewer."""
        return self.architecture.width

    def forward(self, slices: Tensor) -> SliceTokens:
        """Encode (B, 1, H, W) slices in [0, 1], sides multiples of the patch size, not necessarily equal."""
        grid = patch_grid(slices, self.patch_size)
        vision = self.model.vision_encoder
        hidden = vision.patch_embed.projection(self._colours(slices)).permute(0, 2, 3, 1)
        hidden = hidden + _stretched(vision.pos_embed, grid)
        for layer in vision.layers:
            hidden = layer(hidden)
        patches = vision.neck(hidden)
        return SliceTokens(patches, patches.mean(dim=(2, 3)))

    def _colours(self, slices: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 3, H, W) as the checkpoint takes them."""
        colours = slices.expand(-1, 3, -1, -1)
        if self.intensities == "medsam":
            return colours
        mean, deviation = (slices.new_tensor(v).view(3, 1, 1) for v in (_MEAN, _DEVIATION))
        return (255 * colours - mean) / deviation


def load_sam(
    path: Path,
    *,
    intensities: Literal["auto"] | Intensities = "auto",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SamEncoder:
    """Load a checkpoint of SAM or MedSAM into an encoder, strictly; its size is told by its tensors.

    Args:
        path: an official `.pth` or a Hugging Face folder; only the image encoder is read.
        intensities: what the checkpoint takes; "auto" goes by the name of the file or folder, as the tensors
            of SAM and MedSAM have the same names.
        device: where the encoder goes.
        dtype: of its weights.

    Raises:
        WeightsError: unreadable, no SAM, tensors that are missing, too many or misshapen, or a name that
            tells neither SAM nor MedSAM.
    """
    chosen = intensities_of(path) if intensities == "auto" else intensities
    model, architecture = _from_folder(path) if path.is_dir() else _from_file(path)
    log.info("%s: image encoder of SAM, %s, intensities of %s", path, architecture, chosen)
    encoder = SamEncoder(model, architecture, chosen).eval().requires_grad_(False)
    return encoder.to(device=device, dtype=dtype)


def _from_folder(folder: Path) -> tuple[Any, SamArchitecture]:
    expected = {
        "hidden_act": "gelu",
        "layer_norm_eps": _EPSILON,
        "use_abs_pos": True,
        "use_rel_pos": True,
        "qkv_bias": True,
        "num_channels": 3,
    }
    config = read_config(folder, expected, part="vision_config")
    model = load_pretrained(SamVisionModel, folder, config, ignored=OTHER_PARTS)
    read = model.config
    return model, SamArchitecture(
        width=read.hidden_size,
        depth=read.num_hidden_layers,
        heads=read.num_attention_heads,
        hidden=read.mlp_dim,
        channels=read.output_channels,
        grid=read.image_size // read.patch_size,
        patch_size=read.patch_size,
        window=read.window_size,
        everywhere=tuple(read.global_attn_indexes),
    )


def _from_file(path: Path) -> tuple[Any, SamArchitecture]:
    checkpoint = read_checkpoint(path)
    tensors = encoder_tensors(checkpoint)
    architecture = recognise(checkpoint, tensors)
    with torch.device("meta"):
        model = _empty_model(architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.vision_encoder.state_dict().items()}
    state = convert(tensors, {name: (name,) for name in shapes}, shapes, where=path)
    model.vision_encoder.load_state_dict(state, strict=True, assign=True)
    return model, architecture


def intensities_of(path: Path) -> Intensities:
    """Tell SAM from MedSAM by the name of a checkpoint.

    Raises:
        WeightsError: it says neither.
    """
    name = path.name.lower()
    if "medsam" in name:
        return "medsam"
    if name.startswith(("sam_", "sam-")):
        return "sam"
    raise WeightsError(
        Fault(
            "SAM or MedSAM?",
            str(path),
            expected="a name with medsam, or one that begins with sam_",
            remedy='state intensities = "sam" or "medsam" in the configuration',
        )
    )


def _stretched(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embedding (1, n, n, C) on another grid, in float32 whatever its type."""
    if tuple(table.shape[1:3]) == grid:
        return table
    resized = F.interpolate(table.float().permute(0, 3, 1, 2), size=grid, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).to(table.dtype)


def _empty_model(architecture: SamArchitecture) -> Any:
    settings: dict[str, Any] = {
        "hidden_size": architecture.width,
        "output_channels": architecture.channels,
        "num_hidden_layers": architecture.depth,
        "num_attention_heads": architecture.heads,
        "image_size": architecture.grid * architecture.patch_size,
        "patch_size": architecture.patch_size,
        "layer_norm_eps": _EPSILON,
        "window_size": architecture.window,
        "global_attn_indexes": architecture.everywhere,
        "mlp_dim": architecture.hidden,
        "attn_implementation": "sdpa",
    }
    return SamVisionModel(SamVisionConfig(**settings))
