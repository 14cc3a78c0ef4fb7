# SPDX-License-Identifier: Apache-2.0
"""A GR00T checkpoint on disk: its JSON files and its safetensors files, checked before use.

Everything here reads a few kilobytes: a missing file, a truncated one or a missing tensor is found
before any weight is loaded. `gr00t_policy_core.models.common.weights` loads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.hub import HubFolder, fetch
from gr00t_policy_core.models.common.weight_files import INDEX, SINGLE, StoredTensor, find_weights

SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


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
        tensors: Every tensor of its weights, by name; see `find_weights`.
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
        model_path: A folder, or the id of a repository on the Hugging Face hub, or of a folder in
            one (``nvidia/GR00T-N1.7-LIBERO/libero_10``), which is then taken from the local cache
            or downloaded.

    Raises:
        CheckpointError: Naming the file that is missing, damaged or incomplete.
    """
    folder = find_folder(model_path)
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
        tensors=find_weights(folder),
    )


def find_folder(model_path: str | Path) -> Path:
    """The folder of a checkpoint; one of the hub is fetched where the cache lacks it.

    Raises:
        CheckpointError: There is no such folder, neither here nor on the hub.
    """
    folder = Path(model_path).expanduser()
    if folder.is_dir():
        return folder
    wanted = HubFolder.parse(model_path) if isinstance(model_path, str) else None
    if wanted is None or folder.is_absolute():
        raise CheckpointError(folder, "there is no such folder")
    return fetch(wanted, needed_files, _is_complete)


def needed_files(sizes: Mapping[str, int]) -> list[str]:
    """Which of a checkpoint's files are needed: its JSON files, and one set of weights.

    Args:
        sizes: In bytes, by name, relative to the checkpoint's folder.
    """
    own = [name for name in sizes if "/" not in name]
    wanted = [name for name in own if name.endswith(".json") and name != INDEX]
    wanted += [name for name in sizes if re.fullmatch(r"processor/[^/]+\.json", name)]
    if SINGLE in own:
        wanted.append(SINGLE)
    else:
        wanted += [name for name in own if name == INDEX or SHARD.fullmatch(name)]
    return sorted(wanted)


def _check_it_is_one(folder: Path) -> None:
    """Raise `CheckpointError` where there is no config.json: often it is one folder deeper."""
    if (folder / "config.json").exists():
        return
    inside = [str(file.parent.relative_to(folder)) for file in folder.glob("*/config.json")]
    hint = f"; give one of the folders in it as model_path: {', '.join(sorted(inside))}"
    snapshots = sorted(folder.glob("snapshots/*/"), key=lambda path: path.stat().st_mtime)
    if snapshots:
        hint = f"; it is the hub's cache: give {snapshots[-1]} as model_path"
    elif not inside:
        hint = ""
    raise CheckpointError(folder / "config.json", f"is missing: this is no checkpoint{hint}")


def _is_complete(folder: Path) -> bool:
    """Whether all is there that a checkpoint cannot be without."""
    if not (folder / "config.json").exists():
        return False
    if not any((folder / at / "statistics.json").exists() for at in (".", "processor")):
        return False
    if (folder / SINGLE).exists():
        return True
    index = folder / INDEX
    if not index.exists():
        return False
    shards = read_json(index).get("weight_map", {}).values()
    return all((folder / shard).exists() for shard in shards)
