# SPDX-License-Identifier: Apache-2.0
"""Finds a backbone's tokenizer and configuration files; its weights are in the checkpoint."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import LFS_ADVICE, is_lfs_pointer
from gr00t_policy_core.models.common.hub import HubFolder, fetch

SUFFIXES = (".json", ".txt", ".jinja")  # never the weights

# The folder of backbones in the Isaac-GR00T repository.
IN_REPOSITORY = Path("gr00t/model/modules")


def find_backbone_files(
    name: str,
    backbone_path: str | Path | None,
    needed: Sequence[Sequence[str]],
    on_hub: bool,
) -> Path:
    """Find the folder with a backbone's files.

    Args:
        name: The backbone's name in config.json, for example ``nvidia/Cosmos-Reason2-2B``.
        backbone_path: The folder itself, a folder that contains it under its name, or a copy of the
            Isaac-GR00T repository. None looks for a folder of that name, in the installed package
            `gr00t`, in the local cache of the Hugging Face hub and on the hub.
        needed: The files that the folder must have; one file of each entry is enough.
        on_hub: Whether the hub has the backbone.

    Raises:
        CheckpointError: Files are missing; the message names them and where they come from.
    """
    candidates = list(_candidates(name, backbone_path))
    for folder in candidates:
        if (folder / "config.json").is_file():
            return _complete(name, folder, needed)
    if backbone_path is not None:
        searched = ", ".join(str(folder) for folder in candidates)
        raise CheckpointError(
            Path(backbone_path), f"has no {name}: there is no config.json in {searched}"
        )
    if not on_hub:
        raise CheckpointError(
            Path(name),
            "is part of Isaac-GR00T, not of the checkpoint: clone "
            "https://github.com/NVIDIA/Isaac-GR00T (branch n1.6-release) and set backbone_path to "
            f"its folder. The policy needs config.json, {_listed(needed)}",
        )
    try:
        found = fetch(HubFolder(name), _text_files, lambda at: not _missing(at, needed))
        return _complete(name, found, needed)
    except CheckpointError as error:
        raise CheckpointError(
            Path(name),
            f"the policy needs the backbone's tokenizer and configuration (config.json, "
            f"{_listed(needed)}), not its weights. Accept the licence at "
            f"https://huggingface.co/{name}, log in with `hf auth login` and run `hf download "
            f"{name} --include '*.json' '*.txt' '*.jinja'`, or set backbone_path to a folder with "
            f"these files. {error}",
        ) from error


def _candidates(name: str, backbone_path: str | Path | None) -> Iterator[Path]:
    if backbone_path is not None:
        given = Path(backbone_path).expanduser()
        yield given
        yield given / name
        yield given / IN_REPOSITORY / name
        yield given / IN_REPOSITORY.relative_to("gr00t") / name
        return
    yield Path(name)  # config.json may give a path
    package = importlib.util.find_spec("gr00t")
    for folder in (package.submodule_search_locations or []) if package else []:
        yield Path(folder) / IN_REPOSITORY.relative_to("gr00t") / name


def _text_files(sizes: Mapping[str, int]) -> list[str]:
    return sorted(name for name in sizes if "/" not in name and name.endswith(SUFFIXES))


def _complete(name: str, folder: Path, needed: Sequence[Sequence[str]]) -> Path:
    missing = _missing(folder, needed)
    if missing:
        raise CheckpointError(folder, f"lacks {_listed(missing)}, which {name} has")
    for file in (folder / name for names in needed for name in names):
        if file.is_file() and is_lfs_pointer(file):
            raise CheckpointError(file, LFS_ADVICE)
    return folder


def _missing(folder: Path, needed: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [names for names in needed if not any((folder / name).is_file() for name in names)]


def _listed(needed: Sequence[Sequence[str]]) -> str:
    return ", ".join(" or ".join(names) for names in needed)
