"""DINOv3 as a slice encoder, from a checkpoint of the user, on top of the model of transformers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.vit.dinov3_keys import (
    Dinov3Architecture,
    inverse_periods,
    layout,
    recognise,
    with_masked_bias,
)
from dinoreg.encoders.vit.slice_input import Normalisation, check_normalisation, patch_grid, to_three_channels
from dinoreg.weights.checkpoint import convert, read_checkpoint
from dinoreg.weights.model_folder import check_config

log = logging.getLogger(__name__)


class Dinov3Encoder(SliceEncoder):
    """Patch and cls tokens after the last layer normalisation.

    Siméoni et al. 2025. Patches of 16 pixels with a rotary position embedding, so any grid is as good as any
    other. Frozen, like `Dinov2Encoder`; gradients with respect to the slices flow.

    Attributes:
        architecture: of the transformer.
    """

    def __init__(
        self, model: nn.Module, architecture: Dinov3Architecture, normalisation: Normalisation
    ) -> None:
        super().__init__()
        check_normalisation(normalisation)
        self.architecture = architecture
        self.patch_size = architecture.patch_size
        self.channels = architecture.width
        self.normalisation = normalisation
        # transformers carries no types here
        self.model: Any = model

    def forward(self, slices: Tensor) -> SliceTokens:
        """Encode (B, 1, H, W) slices in [0, 1], sides multiples of the patch size, not necessarily equal."""
        grid = patch_grid(slices, self.patch_size)
        encoded = self.model(to_three_channels(slices, self.normalisation)).last_hidden_state
        patches = encoded[:, 1 + self.architecture.registers :]
        return SliceTokens(patches.transpose(1, 2).unflatten(2, grid), encoded[:, 0])


def load_dinov3(
    path: Path,
    *,
    normalisation: Normalisation = "none",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Dinov3Encoder:
    """Load a checkpoint into an encoder, strictly; its size is told by its tensors.

    Args:
        path: an official file (`.pth` or `.safetensors`) or a Hugging Face folder.
        normalisation: "none", or "imagenet" for the mean and deviation of the training.
        device: where the encoder goes.
        dtype: of its weights.

    Raises:
        WeightsError: unreadable, no DINOv3, or tensors that are missing, too many or misshapen.
    """
    checkpoint = read_checkpoint(path)
    architecture, dialect = recognise(checkpoint)
    if checkpoint.config is not None:
        check_config(
            path,
            checkpoint.config,
            {
                "model_type": "dinov3_vit",
                "hidden_size": architecture.width,
                "hidden_act": _activation(architecture),
                "layer_norm_eps": 1e-5,
            },
        )
    with torch.device("meta"):
        model = _empty_model(architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = convert(
        with_masked_bias(checkpoint.tensors),
        layout(architecture, dialect, shapes),
        shapes,
        where=path,
        ignored=dialect.ignored,
    )
    model.load_state_dict(state, strict=True, assign=True)
    frequencies = inverse_periods(architecture, checkpoint.tensors)
    model.rope_embeddings.inv_freq = frequencies
    log.info("%s: DINOv3 %s, names of %s", path, architecture, dialect.title)
    encoder = Dinov3Encoder(model, architecture, normalisation).eval().requires_grad_(False)
    encoder.to(device=device, dtype=dtype)
    # Angles are computed in float32 whatever the weights are; a rounded frequency would bend long slices.
    model.rope_embeddings.inv_freq = frequencies.to(device)
    return encoder


def _activation(architecture: Dinov3Architecture) -> str:
    return "silu" if architecture.gated else "gelu"


def _empty_model(architecture: Dinov3Architecture) -> Any:
    query, key, value = architecture.biases
    settings: dict[str, Any] = {
        "hidden_size": architecture.width,
        "num_hidden_layers": architecture.depth,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.hidden,
        "use_gated_mlp": architecture.gated,
        "hidden_act": _activation(architecture),
        "num_register_tokens": architecture.registers,
        "patch_size": architecture.patch_size,
        "query_bias": query,
        "key_bias": key,
        "value_bias": value,
        "layer_norm_eps": 1e-5,
        "pos_embed_rescale": None,  # an augmentation of the training
        "attn_implementation": "sdpa",
    }
    model: Any = DINOv3ViTModel(DINOv3ViTConfig(**settings))
    model.embeddings.mask_token = None  # only the training needs it
    return model
