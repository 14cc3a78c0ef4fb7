# SPDX-License-Identifier: Apache-2.0
"""Finds the folder of a checkpoint, on this machine or on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.hub import HubFolder, fetch
from gr00t_policy_core.models.common.weight_files import INDEX, SINGLE

SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
ADAPTER = "adapter_model.safetensors"
STATE_OF_A_STEP = re.compile(r"policy_(pre|post)processor_step_\w+\.safetensors")  # LeRobot's


def find_folder(model_path: str | Path) -> Path:
    """Find the folder of a checkpoint, and download it from the hub if the cache lacks it.

    Args:
        model_path: A folder, or ``owner/name`` or ``owner/name/folder`` on the hub.

    Raises:
        CheckpointError: There is no such folder on this machine, nor on the hub.
    """
    folder = Path(model_path).expanduser()
    if folder.is_dir():
        return folder
    wanted = HubFolder.parse(model_path) if isinstance(model_path, str) else None
    if wanted is None or folder.is_absolute():
        raise CheckpointError(folder, "there is no such folder")
    return fetch(wanted, needed_files, _is_complete)


def needed_files(sizes: Mapping[str, int]) -> list[str]:
    """The files of a checkpoint that a policy needs: its JSON files, and one set of weights.

    Args:
        sizes: Bytes of each file, by its path relative to the checkpoint's folder.
    """
    own = [name for name in sizes if "/" not in name]
    wanted = [name for name in own if name.endswith(".json") and name != INDEX]
    wanted += [name for name in sizes if re.fullmatch(r"processor/[^/]+\.json", name)]
    wanted += [name for name in own if STATE_OF_A_STEP.fullmatch(name)]
    if ADAPTER in own:
        wanted.append(ADAPTER)
    elif SINGLE in own:
        wanted.append(SINGLE)
    else:
        wanted += [name for name in own if name == INDEX or SHARD.fullmatch(name)]
    return sorted(wanted)


def check_is_checkpoint(folder: Path) -> None:
    """Raise `CheckpointError` for a folder without config.json; suggest those within it."""
    if any((folder / name).exists() for name in ("config.json", "adapter_config.json")):
        return
    inside = [
        str(file.parent.relative_to(folder))
        for at in ("*", "pretrained_model", "*/pretrained_model")
        for file in folder.glob(f"{at}/config.json")
    ]
    hint = f"; set model_path to a folder within it: {', '.join(sorted(set(inside)))}"
    snapshots = sorted(folder.glob("snapshots/*/"), key=lambda path: path.stat().st_mtime)
    if snapshots:
        hint = f"; it is a cache folder of the hub: set model_path to {snapshots[-1]}"
    elif not inside:
        hint = ""
    raise CheckpointError(
        folder / "config.json", f"is missing: the folder is not a checkpoint{hint}"
    )


def _is_complete(folder: Path) -> bool:
    """Whether a folder has every file that a checkpoint needs."""
    if (folder / "adapter_config.json").exists():
        return (folder / ADAPTER).exists()
    if not (folder / "config.json").exists():
        return False
    if "type" in read_json(folder / "config.json"):
        return _has_processors(folder) and (folder / SINGLE).exists()
    if not any((folder / at / "statistics.json").exists() for at in (".", "processor")):
        return False
    if (folder / SINGLE).exists():
        return True
    index = folder / INDEX
    if not index.exists():
        return False
    shards = read_json(index).get("weight_map", {}).values()
    return all((folder / shard).exists() for shard in shards)


def _has_processors(folder: Path) -> bool:
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        if not (folder / name).exists():
            return False
        steps = read_json(folder / name).get("steps", [])
        files = [step["state_file"] for step in steps if step.get("state_file")]
        if not all((folder / file).exists() for file in files):
            return False
    return True
