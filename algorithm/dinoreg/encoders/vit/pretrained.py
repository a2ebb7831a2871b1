"""Models from Hugging Face folders: transformers loads, and everything that it would pass over is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as untyped_logging

from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import tensor_faults
from dinoreg.weights.model_folder import tensor_files
from regtask.errors import Fault

logging: Any = untyped_logging
# Weights of a transformer layer by the square of its width, at the least: those of the attention.
_SQUARES = 4


def load_pretrained(
    model_class: Any,
    folder: Path,
    config: Mapping[str, Any],
    *,
    ignored: Collection[str] = (),
    **settings: Any,
) -> Any:
    """Load a model in float32, without network, from safetensors or with `weights_only`, whole or in shards.

    Args:
        model_class: of transformers.
        folder: a model folder.
        config: its settings, as `read_config` returns them.
        ignored: tensors, or with a point at the end prefixes of them, that may be there or not.
        settings: of the model, instead of the folder's.

    Raises:
        WeightsError: unreadable, or tensors that are missing, too many, misshapen or not finite.
    """
    files = tensor_files(folder)
    _check_size(folder, config, sum(file.stat().st_size for file in files))
    try:
        with _quiet():
            model, found = model_class.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=True,
                dtype=torch.float32,
                attn_implementation="sdpa",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are listed below, with everything else
                **settings,
            )
    except Exception as error:  # of damaged bytes the parsers make errors of ten different classes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(Fault("not a model of transformers", str(folder), got=reason)) from error
    missing, unexpected = (
        sorted(name for name in found[key] if not _is_ignored(name, ignored))
        for key in ("missing_keys", "unexpected_keys")
    )
    wrong = sorted(
        f"{name} is {tuple(shape)}, not {tuple(expected)}"
        for name, shape, expected in found["mismatched_keys"]
    )
    bad = [
        name
        for name, tensor in model.state_dict().items()
        if not (_is_ignored(name, ignored) or bool(tensor.isfinite().all()))
    ]
    faults = tensor_faults(folder, missing, unexpected, wrong, bad)
    if faults:
        raise WeightsError(faults[0], *faults[1:])
    return model


def _is_ignored(name: str, ignored: Collection[str]) -> bool:
    return any(name.startswith(entry) if entry.endswith(".") else name == entry for entry in ignored)


def _check_size(folder: Path, config: Mapping[str, Any], size: int) -> None:
    """Refuse, before memory is taken, a config that describes more than the files can hold."""
    width, depth = config.get("hidden_size"), config.get("num_hidden_layers")
    if isinstance(width, int) and isinstance(depth, int) and _SQUARES * width * width * depth > size:
        raise WeightsError(
            Fault(
                "config.json describes a larger model than the files hold",
                str(folder),
                expected=f"tensors of {depth} layers of {width} channels",
                got=f"{size} bytes",
            )
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting what is reported here, and from drawing progress bars."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
