# SPDX-License-Identifier: Apache-2.0
"""Finds the safetensors files of a checkpoint's weights, and the tensors in them.

The order is that of transformers: ``model.safetensors`` alone if it exists, else the shards that
``model.safetensors.index.json`` names, each tensor from the shard that the index gives for it.
No other file is read. This module reads only the headers, a few kilobytes of each file.
"""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import LFS_ADVICE, is_lfs_pointer, listed, read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Bytes per value of the safetensors dtypes that weights have.
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
TENSOR_FIELDS = {"dtype", "shape", "data_offsets"}
AGAIN = "; download it, or copy it, again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """The location of a tensor.

    Args:
        file: The path of the safetensors file.
        name: The name of the tensor in that file.
        shape: The shape in the file's header.
    """

    file: Path
    name: str
    shape: tuple[int, ...]


def find_weights(folder: Path) -> dict[str, StoredTensor]:
    """Find the tensors of a checkpoint, by name.

    The log names other files in the folder that look like weights, which are not read.

    Raises:
        CheckpointError: The folder has no weights, they are ambiguous, or a file is missing or
            damaged.
    """
    single, index = folder / SINGLE, folder / INDEX
    if single.exists():
        used, tensors = [SINGLE], read_header(single)
    elif index.exists():
        shards = _weight_map(index)
        used, tensors = sorted(set(shards.values())), _tensors_of_shards(folder, shards)
    else:
        raise CheckpointError(single, _why_none(folder))
    unread = sorted(
        file.name
        for file in folder.iterdir()
        if file.suffix == ".safetensors" and file.name not in used and _looks_like_weights(file)
    )
    if single.exists() and index.exists():
        unread.append(INDEX)
    if unread:
        logger.warning("%s: the weights are %s; not read: %s", folder, listed(used), listed(unread))
    return tensors


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file, and check the file's size against it.

    The format is 8 bytes of header size (little endian), a JSON header, and the values.

    Returns:
        The tensors of the file, by name.

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
        metadata = header.pop("__metadata__", None)
        tensors = {
            name: StoredTensor(file, name, _shape(name, entry)) for name, entry in header.items()
        }
        needed = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except FileNotFoundError:
        raise CheckpointError(file, "is missing") from None
    except CheckpointError:
        raise
    except (ValueError, TypeError) as error:
        raise CheckpointError(file, f"is not a safetensors file of weights: {error}") from error
    if size != 8 + header_size + needed:
        raise CheckpointError(
            file,
            f"is truncated or damaged: it has {size} bytes, its header announces "
            f"{8 + header_size + needed}{AGAIN}",
        )
    return {**_copies(tensors, metadata), **tensors}


def _copies(tensors: Mapping[str, StoredTensor], metadata: Any) -> dict[str, StoredTensor]:
    """Tensors that the file stores under another name, as safetensors' `save_model` does."""
    if not isinstance(metadata, dict):
        return {}
    return {
        name: tensors[kept]
        for name, kept in metadata.items()
        if isinstance(kept, str) and kept in tensors
    }


def _weight_map(index: Path) -> dict[str, str]:
    """The shard of each tensor; every shard must be a file in the folder of the index."""
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(file, str) for file in shards.values()):
        raise CheckpointError(index, "has no weight_map from tensors to files")
    for shard in set(shards.values()):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(
                index, f"names {shard!r}, which is not a safetensors file in its folder"
            )
    return shards


def _tensors_of_shards(folder: Path, shards: Mapping[str, str]) -> dict[str, StoredTensor]:
    headers = {shard: read_header(folder / shard) for shard in sorted(set(shards.values()))}
    found = {}
    for name, shard in shards.items():
        if name not in headers[shard]:
            raise CheckpointError(folder / shard, f"lacks {name}, which {INDEX} says it holds")
        found[name] = headers[shard][name]
    ignored = [
        f"{name} of {shard}"
        for shard, tensors in headers.items()
        for name in tensors
        if shards.get(name) != shard
    ]
    if ignored:
        logger.warning(
            "%s: these tensors are not read, because %s does not name them: %s",
            folder,
            INDEX,
            listed(ignored),
        )
    return found


def _looks_like_weights(file: Path) -> bool:
    return file.name.startswith(("model", "pytorch_model", "diffusion_pytorch_model"))


def _why_none(folder: Path) -> str:
    others = sorted(file.name for file in folder.glob("*.safetensors"))
    parts = [name for name in others if "-of-" in name]
    if parts:
        return f"is missing, and so is {INDEX}, the index of {listed(parts)}"
    if others:
        return (
            f"is missing; {listed(others)} may hold other weights, so none of them is read: "
            f"rename the right one to {SINGLE}"
        )
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        return "is missing; pickle files are not read: save the weights as safetensors"
    return "is missing"


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    """The shape of a tensor; raises ValueError unless it matches the dtype and the bytes."""
    if not isinstance(entry, dict) or not entry.keys() >= TENSOR_FIELDS:
        raise ValueError(f"{name} has no dtype, shape and data_offsets")
    begin, end = entry["data_offsets"]
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind not in ITEM_SIZES:
        raise ValueError(f"{name} has dtype {kind}, supported are {', '.join(ITEM_SIZES)}")
    if end - begin != math.prod(shape) * ITEM_SIZES[kind]:
        raise ValueError(f"{name}, {kind} {shape}, cannot have {end - begin} bytes")
    return shape
