"""DINOv2 as a slice encoder, on top of the model of transformers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.encoders.vit.dinov2_keys import VARIANTS, Architecture, layout, recognise, with_cls_position
from dinoreg.encoders.vit.position_embedding import interpolate_position
from dinoreg.encoders.vit.pretrained import load_pretrained
from dinoreg.encoders.vit.slice_input import Normalisation, check_normalisation, patch_grid, to_three_channels
from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import convert, read_checkpoint
from dinoreg.weights.model_folder import CONFIG, read_config
from regtask.errors import Fault

log = logging.getLogger(__name__)

_MASK_TOKEN = "embeddings.mask_token"


class Dinov2Encoder(SliceEncoder):
    """Patch and cls tokens after the last layer normalisation.

    Oquab et al. 2023; with registers Darcet et al. 2023. The attention is torch's fused one. Frozen: to train
    it, `requires_grad_(True)`; gradients with respect to the slices flow anyway.

    Attributes:
        architecture: of the transformer.
    """

    def __init__(self, model: nn.Module, architecture: Architecture, normalisation: Normalisation) -> None:
        super().__init__()
        self.architecture = architecture
        self.patch_size = architecture.patch_size
        self.channels = architecture.width
        check_normalisation(normalisation)
        self.normalisation = normalisation
        # transformers carries no types here
        self.model: Any = model

    def forward(self, slices: Tensor) -> SliceTokens:
        """Encode (B, 1, H, W) slices in [0, 1], sides multiples of the patch size, not necessarily equal."""
        grid = patch_grid(slices, self.patch_size)
        return self.encode_colours(to_three_channels(slices, self.normalisation), grid)

    def encode_colours(self, colours: Tensor, grid: tuple[int, int]) -> SliceTokens:
        """Encode (B, 3, H, W) normalised colours on a grid of (rows, columns) patches."""
        embeddings = self.model.embeddings
        patches = embeddings.patch_embeddings(colours)
        position = interpolate_position(
            embeddings.position_embeddings, grid, registers=self.architecture.registers > 0
        )
        cls = (embeddings.cls_token + position[:, :1]).expand(len(colours), -1, -1)
        tokens = [cls, patches + position[:, 1:]]
        if self.architecture.registers:  # they have no position
            tokens.insert(1, embeddings.register_tokens.expand(len(colours), -1, -1))
        encoded = self.model.encoder(torch.cat(tokens, dim=1)).last_hidden_state
        encoded = self.model.layernorm(encoded)
        found = encoded[:, 1 + self.architecture.registers :]
        return SliceTokens(found.transpose(1, 2).unflatten(2, grid), encoded[:, 0])


def load_dinov2(
    variant: str | None,
    path: Path,
    *,
    normalisation: Normalisation = "none",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Dinov2Encoder:
    """Load a checkpoint into an encoder, strictly.

    Args:
        variant: one of `dinov2_keys.VARIANTS`, which the tensors have to be of; None takes what they are.
        path: an official `.pth`, one of timm, their `.safetensors`, or a Hugging Face folder. Its digest is
            the business of `dinoreg.weights.search`.
        normalisation: "none", or "imagenet" for the mean and deviation of the training.
        device: where the encoder goes.
        dtype: of its weights.

    Raises:
        WeightsError: unreadable, another architecture, or tensors that are missing, too many or misshapen.
    """
    model, architecture = _from_folder(variant, path) if path.is_dir() else _from_file(variant, path)
    encoder = Dinov2Encoder(model, architecture, normalisation).eval().requires_grad_(False)
    return encoder.to(device=device, dtype=dtype)


def _from_folder(variant: str | None, folder: Path) -> tuple[Any, Architecture]:
    config = read_config(
        folder,
        {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "mlp_ratio": 4, "num_channels": 3},
        stated=("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"),
    )
    kinds: dict[Any, tuple[Any, dict[str, Any]]] = {
        "dinov2": (Dinov2Model, {"use_mask_token": False}),
        "dinov2_with_registers": (Dinov2WithRegistersModel, {}),
    }
    kind = str(config.get("model_type"))
    if kind not in kinds:
        raise WeightsError(Fault("no DINOv2", f"{folder / CONFIG}, model_type", " or ".join(kinds), kind))
    registers = int(config.get("num_register_tokens", 4)) if kind != "dinov2" else 0
    architecture = Architecture(
        width=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        gated=bool(config.get("use_swiglu_ffn", False)),
        registers=registers,
        grid=config["image_size"] // config["patch_size"],
        patch_size=config["patch_size"],
    )
    _check_variant(variant, architecture, folder)
    model_class, settings = kinds[kind]
    model = load_pretrained(model_class, folder, config, ignored=[_MASK_TOKEN], **settings)
    model.embeddings.mask_token = None  # only the training needs it
    log.info("%s: DINOv2 %s, by transformers", folder, variant or architecture)
    return model, architecture


def _from_file(variant: str | None, path: Path) -> tuple[Any, Architecture]:
    checkpoint = read_checkpoint(path)
    architecture, dialect = recognise(checkpoint)
    _check_variant(variant, architecture, path)
    with torch.device("meta"):
        model = _empty_model(architecture)
    tensors = with_cls_position(checkpoint.tensors, dialect)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = convert(
        tensors, layout(architecture, dialect, shapes), shapes, where=path, ignored=dialect.ignored
    )
    model.load_state_dict(state, strict=True, assign=True)
    log.info("%s: DINOv2 %s, names of %s", path, variant or architecture, dialect.title)
    return model, architecture


def _check_variant(variant: str | None, architecture: Architecture, path: Path) -> None:
    if variant is not None and VARIANTS.get(variant) != architecture:
        name = next((name for name, known in VARIANTS.items() if known == architecture), str(architecture))
        raise WeightsError(Fault("another DINOv2 than asked for", str(path), expected=variant, got=name))


def _empty_model(architecture: Architecture) -> Any:
    settings: dict[str, Any] = {
        "hidden_size": architecture.width,
        "num_hidden_layers": architecture.depth,
        "num_attention_heads": architecture.heads,
        "use_swiglu_ffn": architecture.gated,
        "image_size": architecture.grid * architecture.patch_size,
        "patch_size": architecture.patch_size,
        "mlp_ratio": 4,
        "layer_norm_eps": 1e-6,
        "attn_implementation": "sdpa",
    }
    if not architecture.registers:
        return Dinov2Model(Dinov2Config(use_mask_token=False, **settings))
    model: Any = Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(num_register_tokens=architecture.registers, **settings)
    )
    model.embeddings.mask_token = None  # only the training needs it
    return model
