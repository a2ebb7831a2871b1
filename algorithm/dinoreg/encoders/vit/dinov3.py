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
    OFFICIAL,
    Dinov3Architecture,
    inverse_periods,
    layout,
    recognise,
    with_masked_bias,
)
from dinoreg.encoders.vit.pretrained import load_pretrained
from dinoreg.encoders.vit.slice_input import Normalisation, check_normalisation, patch_grid, to_three_channels
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import convert, read_checkpoint
from dinoreg.weights.model_folder import CONFIG, read_config
from regtask.errors import Fault

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
    model, architecture = _from_folder(path) if path.is_dir() else _from_file(path)
    frequencies = model.rope_embeddings.inv_freq
    encoder = Dinov3Encoder(model, architecture, normalisation).eval().requires_grad_(False)
    encoder.to(device=device, dtype=dtype)
    # Angles are computed in float32 whatever the weights are; a rounded frequency would bend long slices.
    model.rope_embeddings.inv_freq = frequencies.to(device)
    return encoder


def _from_folder(folder: Path) -> tuple[Any, Dinov3Architecture]:
    config = read_config(
        folder,
        {"model_type": "dinov3_vit", "layer_norm_eps": 1e-5, "num_channels": 3},
        stated=("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size"),
    )
    # The rescaling of positions is an augmentation of the training.
    model = load_pretrained(
        DINOv3ViTModel, folder, config, ignored=["embeddings.mask_token"], pos_embed_rescale=None
    )
    model.embeddings.mask_token = None  # only the training needs it
    read = model.config
    architecture = Dinov3Architecture(
        width=read.hidden_size,
        depth=read.num_hidden_layers,
        heads=read.num_attention_heads,
        hidden=read.intermediate_size,
        gated=read.use_gated_mlp,
        registers=read.num_register_tokens,
        patch_size=read.patch_size,
        biases=(read.query_bias, read.key_bias, read.value_bias),
    )
    if read.hidden_act != _activation(architecture):
        raise WeightsError(
            Fault(
                "another setting than the encoder's",
                f"{folder / CONFIG}, hidden_act",
                _activation(architecture),
                str(read.hidden_act),
            )
        )
    log.info("%s: DINOv3 %s, by transformers", folder, architecture)
    return model, architecture


def _from_file(path: Path) -> tuple[Any, Dinov3Architecture]:
    checkpoint = read_checkpoint(path)
    architecture = recognise(checkpoint)
    with torch.device("meta"):
        model = _empty_model(architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = convert(
        with_masked_bias(checkpoint.tensors),
        layout(architecture, shapes),
        shapes,
        where=path,
        ignored=OFFICIAL.ignored,
    )
    model.load_state_dict(state, strict=True, assign=True)
    model.rope_embeddings.inv_freq = inverse_periods(checkpoint.tensors)
    log.info("%s: DINOv3 %s, official names", path, architecture)
    return model, architecture


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
