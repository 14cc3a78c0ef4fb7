# SPDX-License-Identifier: Apache-2.0
"""A GR00T checkpoint on disk: its JSON files and its safetensors files, checked before use.

Everything here reads a few kilobytes: a missing file, a truncated one or a missing tensor is found
before any weight is loaded. `gr00t_policy_core.models.common.weights` loads them.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError

INDEX = "model.safetensors.index.json"
FILES = ["*.json", "*.safetensors", "processor/*.json"]  # what a checkpoint consists of, on the hub

# Bytes a value, by the names of the safetensors format; those that weights come in.
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
TENSOR_FIELDS = {"dtype", "shape", "data_offsets"}
AGAIN = "; download it, or copy it, again"

LFS_POINTER = b"version https://git-lfs"  # how it begins
LFS_ADVICE = "is only a pointer of Git LFS: run `git lfs pull` in its folder"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies, and its shape."""

    file: Path
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the files of a checkpoint say.

    Args:
        folder: Where it is.
        config: ``config.json``.
        processor: ``processor_kwargs`` of ``processor_config.json``.
        processor_folder: Where that and the other files of the processor are.
        statistics: ``statistics.json``: by embodiment tag, modality, key and kind.
        embodiment_ids: ``embodiment_id.json``, or empty where there is none: which of the
            per-embodiment weights a tag uses.
        tensors: Every tensor of every ``model*.safetensors``.
    """

    folder: Path
    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    processor_folder: Path
    statistics: Mapping[str, Any]
    embodiment_ids: Mapping[str, int]
    tensors: Mapping[str, StoredTensor]


def open_checkpoint(model_path: str | Path) -> Checkpoint:
    """Read and check everything but the weights themselves.

    Args:
        model_path: A folder, or the id of a repository on the Hugging Face hub, which is then
            taken from the local cache or downloaded.

    Raises:
        CheckpointError: Naming the file that is missing, damaged or incomplete.
    """
    folder = _folder(model_path)
    _check_it_is_one(folder)
    config = read_json(folder / "config.json")
    processor_folder = folder
    if not (folder / "processor_config.json").exists() and (folder / "processor").is_dir():
        processor_folder = folder / "processor"
    processor_file = processor_folder / "processor_config.json"
    processor = read_json(processor_file).get("processor_kwargs")
    if not isinstance(processor, dict):
        raise CheckpointError(processor_file, "has no processor_kwargs: not of GR00T N1.6 or N1.7")
    ids_file = processor_folder / "embodiment_id.json"
    return Checkpoint(
        folder=folder,
        config=config,
        processor=processor,
        processor_folder=processor_folder,
        statistics=read_json(processor_folder / "statistics.json"),
        embodiment_ids=read_json(ids_file) if ids_file.exists() else {},
        tensors=_tensors(folder),
    )


def read_json(file: Path, *needed: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        file: Where it is.
        needed: The fields that it must have.

    Raises:
        CheckpointError: The file is missing, is no JSON, holds something else than an object, or
            one that lacks a field.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(file, "is missing") from None
    except ValueError as error:
        raise CheckpointError(file, f"is no JSON file: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(file, f"must hold an object, got {type(content).__name__}")
    missing = [name for name in needed if name not in content]
    if missing:
        raise CheckpointError(file, f"lacks {', '.join(missing)}: it is of another model")
    return content


def _folder(model_path: str | Path) -> Path:
    folder = Path(model_path).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(model_path, Path) or model_path.count("/") != 1 or model_path.startswith("."):
        raise CheckpointError(folder, "there is no such folder")
    return download(model_path, FILES, _is_complete)


def _check_it_is_one(folder: Path) -> None:
    """Raise `CheckpointError` where there is no config.json: often it is one folder deeper."""
    if (folder / "config.json").exists():
        return
    inside = sorted(file.parent.name for file in folder.glob("*/config.json"))
    hint = f"; give one of the folders in it as model_path: {', '.join(inside)}" if inside else ""
    raise CheckpointError(folder / "config.json", f"is missing: this is no checkpoint{hint}")


def _is_complete(folder: Path) -> bool:
    """Whether all is there that a checkpoint cannot be without."""
    if not (folder / "config.json").exists():
        return False
    if not any((folder / at / "statistics.json").exists() for at in (".", "processor")):
        return False
    index = folder / INDEX
    if not index.exists():
        return any(folder.glob("model*.safetensors"))
    shards = read_json(index).get("weight_map", {}).values()
    return all((folder / shard).exists() for shard in shards)


def download(repository: str, patterns: list[str], is_complete: Callable[[Path], bool]) -> Path:
    """A repository of the Hugging Face hub, from the local cache where that has all of it.

    Args:
        repository: Its id.
        patterns: The files to get.
        is_complete: Whether a folder of the cache has what is needed.

    Raises:
        CheckpointError: It is neither there nor to be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError, ValueError):  # not in the cache
        cached = snapshot_download(repository, allow_patterns=patterns, local_files_only=True)
        if is_complete(Path(cached)):
            return Path(cached)
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            Path(repository), f"is no folder, and the Hugging Face hub does not give it: {reason}"
        ) from error


def _tensors(folder: Path) -> dict[str, StoredTensor]:
    index = folder / INDEX
    if not index.exists():
        files = sorted(folder.glob("model*.safetensors"))
        if not files:
            raise CheckpointError(folder / "model.safetensors", "is missing")
        return {name: tensor for file in files for name, tensor in read_header(file).items()}
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(file, str) for file in shards.values()):
        raise CheckpointError(index, "has no weight_map from tensors to files")
    found: dict[str, StoredTensor] = {}
    for shard in sorted(set(shards.values())):
        found.update(read_header(folder / shard))
    for name, shard in shards.items():
        if name not in found:
            raise CheckpointError(folder / shard, f"lacks {name}, which {INDEX} says it holds")
    return found


def read_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors that a safetensors file announces, held against its size.

    The format: 8 bytes of header size (little endian), a JSON header, the values.

    Raises:
        CheckpointError: The file is missing, damaged, or ends before its last tensor.
    """
    try:
        if is_lfs_pointer(file):
            raise CheckpointError(file, LFS_ADVICE)
        size = file.stat().st_size
        with file.open("rb") as stream:
            first = stream.read(8)
            header_size = struct.unpack("<Q", first)[0] if len(first) == 8 else size
            if header_size > min(size - 8, MAX_HEADER_BYTES):
                raise CheckpointError(
                    file, f"is truncated or damaged: it has only {size} bytes{AGAIN}"
                )
            header = json.loads(stream.read(header_size))
        if not isinstance(header, dict):
            raise ValueError(f"its header must be an object, got {type(header).__name__}")
        header.pop("__metadata__", None)
        tensors = {name: StoredTensor(file, _shape(name, entry)) for name, entry in header.items()}
        needed = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except FileNotFoundError:
        raise CheckpointError(file, "is missing") from None
    except CheckpointError:
        raise
    except (ValueError, TypeError) as error:
        raise CheckpointError(file, f"is no safetensors file of weights: {error}") from error
    if size != 8 + header_size + needed:
        raise CheckpointError(
            file,
            f"is truncated or damaged: it has {size} bytes, its header announces "
            f"{8 + header_size + needed}{AGAIN}",
        )
    return tensors


def is_lfs_pointer(file: Path) -> bool:
    """Whether Git has yet to be told to fetch the file itself."""
    with file.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    """Of a tensor; raises ValueError where its values would take more or less room than it has."""
    if not isinstance(entry, dict) or not entry.keys() >= TENSOR_FIELDS:
        raise ValueError(f"{name} has no dtype, shape and data_offsets")
    begin, end = entry["data_offsets"]
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind not in ITEM_SIZES:
        raise ValueError(f"{name} is of {kind}, supported are {', '.join(ITEM_SIZES)}")
    if end - begin != math.prod(shape) * ITEM_SIZES[kind]:
        raise ValueError(f"{name}, {kind} {shape}, does not take {end - begin} bytes")
    return shape
