"""Hugging Face folders: where one lies, which files hold its tensors, and what is refused. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dinoreg.errors import WeightsError
from regtask.digest import file_sha256
from regtask.documents import read_json_object
from regtask.errors import DataError, Fault

CONFIG = "config.json"
# In the order in which transformers looks for them.
_TENSORS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Settings by which transformers would load something else than the folder's tensors as they are.
_REFUSED = ("quantization_config", "transformers_weights")
_ADAPTER = "adapter_config.json"


def is_model_folder(path: Path) -> bool:
    """Tell whether a path is a Hugging Face folder."""
    return (path / CONFIG).is_file()


def model_folder_in(folder: Path, name: str) -> Path | None:
    """Return the model folder of a name below a folder, however it came there.

    Args:
        folder: to look in.
        name: as published, such as "facebook/dinov2-large".

    Returns:
        The first of `facebook/dinov2-large`, `dinov2-large`, and the snapshot in a cache of the hub,
        `models--facebook--dinov2-large/snapshots/REVISION`: that of `refs/main`, or the only one.
    """
    for place in (folder / name, folder / name.rpartition("/")[2]):
        if is_model_folder(place):
            return place
    cache = folder / f"models--{name.replace('/', '--')}"
    try:
        main = (cache / "refs" / "main").read_text(encoding="ascii").strip()
        snapshots = [cache / "snapshots" / main]
    except (OSError, ValueError):
        snapshots = sorted((cache / "snapshots").glob("*"))
    return snapshots[0] if len(snapshots) == 1 and is_model_folder(snapshots[0]) else None


def enclosing_folder(path: Path) -> Path:
    """Return the model folder of a file that holds its tensors; any other path as it is."""
    return path.parent if path.name in _TENSORS and is_model_folder(path.parent) else path


def tensor_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold a folder's tensors: one, or the shards that its index names.

    Raises:
        WeightsError: there are none, a shard is absent, or the index is damaged or names a file elsewhere.
    """
    name = next((name for name in _TENSORS if (folder / name).is_file()), None)
    if name is None:
        raise WeightsError(Fault("folder without tensors", str(folder), expected=" or ".join(_TENSORS)))
    if not name.endswith(".json"):
        return (folder / name,)
    index = folder / name
    shards = _read_object(index, "an index of shards").get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(s, str) for s in shards.values()):
        raise WeightsError(Fault("not an index of shards", f"{index}, weight_map", expected="tensor -> file"))
    names = sorted(set(shards.values()))
    suffix = ".safetensors" if "safetensors" in name else ".bin"
    faults = [
        Fault("impossible name of a shard", str(index), f"a file beside it that ends in {suffix}", shard)
        for shard in names
        if Path(shard).name != shard or not shard.endswith(suffix)
    ] or [
        Fault("a shard is missing", str(folder / shard), remedy="copy or download all files of the folder")
        for shard in names
        if not (folder / shard).is_file()
    ]
    if faults:
        raise WeightsError(faults[0], *faults[1:])
    return tuple(folder / shard for shard in names)


def folder_sha256(folder: Path) -> str:
    """Return the SHA-256 of a folder's one file of tensors, or of the list of its shards' digests.

    The list has a line per shard as `sha256sum` writes it, sorted by name.

    Raises:
        WeightsError: see `tensor_files`.
        OSError: one cannot be read.
    """
    files = tensor_files(folder)
    digests = [file_sha256(file) for file in files]
    if len(files) == 1:
        return digests[0]
    lines = "".join(f"{digest}  {file.name}\n" for digest, file in zip(digests, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_config(
    folder: Path, expected: Mapping[str, object], *, stated: Sequence[str] = (), part: str = ""
) -> Mapping[str, Any]:
    """Read `config.json`, and compare what the tensors do not show with what the encoder computes.

    Args:
        folder: a model folder.
        expected: setting -> value; a setting that is not stated is taken as expected.
        stated: settings that have to be there, as positive whole numbers.
        part: key of the settings that count, where the file describes several networks and has it.

    Returns:
        The settings.

    Raises:
        WeightsError: lists every setting that is missing or differs, or that would load something else.
    """
    whole = _read_object(folder / CONFIG, "the settings of a model")
    config = whole.get(part, whole)
    where = f"{folder / CONFIG}, {part}" if part in whole else str(folder / CONFIG)
    if not isinstance(config, dict):
        raise WeightsError(Fault("not the settings of a model", where, "an object", type(config).__name__))
    faults = [
        Fault("another setting than the encoder's", f"{where}, {key}", str(value), str(config[key]))
        for key, value in expected.items()
        if key in config and config[key] != value
    ]
    for key in stated:
        value = config.get(key)
        if type(value) is not int or value < 1:
            got = "nothing" if value is None else repr(value)
            faults.append(Fault("size not stated", f"{where}, {key}", "a positive whole number", got))
    for key in _REFUSED:
        if key in whole or key in config:
            faults.append(Fault("loading of this kind is not supported", f"{where}, {key}"))
    if (folder / _ADAPTER).exists():
        remedy = "merge the adapter into the weights, and remove the file"
        faults.append(Fault("a model with an adapter", str(folder / _ADAPTER), remedy=remedy))
    if faults:
        raise WeightsError(faults[0], *faults[1:])
    return config


def _read_object(path: Path, what: str) -> dict[str, Any]:
    try:
        return read_json_object(path, what)
    except DataError as error:
        raise WeightsError(*error.faults) from error
