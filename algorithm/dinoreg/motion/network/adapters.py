"""LoRA on the transformers of the registered encoders, by `peft` (Hu et al. 2022, "LoRA")."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dinoreg.errors import ConfigError
from dinoreg.motion.settings import Lora
from regtask.errors import Fault

# Before the names of peft, which do not say where in the network its model sits.
_PREFIX = "adapter."


def attach_lora(encoder: nn.Module, settings: Lora) -> None:
    """Put trainable adapters into the frozen transformer of an encoder, in place.

    Args:
        encoder: with a transformer of `transformers` as its attribute `model`.
        settings: rank above 0, and the layers.

    Raises:
        ConfigError: the encoder has no transformer, or no layer of these names.
    """
    import peft  # slow to import, and needed with adapters only

    model: Any = getattr(encoder, "model", None)
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()} if model is not None else set()
    missing = [layer for layer in settings.layers if layer not in names]
    if not settings.layers or missing:
        raise ConfigError(
            Fault(
                "no layer to adapt",
                "lora.layers",
                expected=f"some of {sorted(name for name in names if name.endswith('_proj'))}",
                got=str(list(settings.layers)),
                remedy="use lora.rank = 0 with an encoder other than a transformer",
            )
        )
    wanted = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.layers),
    )
    with warnings.catch_warnings():
        # peft asks transformers for the former name of a property
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        encoder.model = peft.get_peft_model(model, wanted)


def adapted_model(module: nn.Module) -> Any | None:
    """Return peft's model within a module, or None."""
    for found in module.modules():
        if hasattr(found, "peft_config") and hasattr(found, "merge_and_unload"):
            return found
    return None


def adapter_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the adapters within a module as `peft` saves them; empty where there are none."""
    model = adapted_model(module)
    if model is None:
        return {}
    import peft

    return {_PREFIX + name: value for name, value in peft.get_peft_model_state_dict(model).items()}


def load_adapter_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take over the tensors of `adapter_tensors`."""
    model = adapted_model(module)
    if model is None:
        return
    import peft

    peft.set_peft_model_state_dict(
        model, {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
    )


def merge_lora(encoder: nn.Module) -> None:
    """Add the adapters to the weights they adapt, in place: the same function at the original speed."""
    if adapted_model(encoder) is not None:
        model: Any = encoder.model
        encoder.model = model.merge_and_unload()


def adapter_size(module: nn.Module) -> int:
    """Return the number of trainable values in the adapters, as `peft` counts them."""
    model = adapted_model(module)
    return int(model.get_nb_trainable_parameters()[0]) if model is not None else 0
