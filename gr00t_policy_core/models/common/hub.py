# SPDX-License-Identifier: Apache-2.0
"""Downloads files of the Hugging Face hub that the local cache lacks."""

from __future__ import annotations

import contextlib
import glob
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import format_size, listed

# Selects the files that are needed, from the bytes of each by its path relative to the folder.
Selection = Callable[[Mapping[str, int]], list[str]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A folder of a repository on the hub.

    Args:
        repository: The id of the repository, ``owner/name``.
        folder: Path within the repository, with slashes; empty for the repository itself.
    """

    repository: str
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> HubFolder | None:
        """Parse ``owner/name`` or ``owner/name/folder/…``; None for any other text."""
        parts = text.split("/")
        if len(parts) < 2 or not all(parts) or any(part.startswith((".", "~")) for part in parts):
            return None
        return cls("/".join(parts[:2]), "/".join(parts[2:]))

    def __str__(self) -> str:
        return f"{self.repository}/{self.folder}" if self.folder else self.repository


def fetch(wanted: HubFolder, select: Selection, is_complete: Callable[[Path], bool]) -> Path:
    """The local copy of a folder on the hub; downloads what the cache lacks.

    Args:
        wanted: The folder on the hub.
        select: Selects the files to download.
        is_complete: Whether a folder of the cache has every needed file.

    Raises:
        CheckpointError: The cache lacks the folder, and the hub does not give it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError, ValueError):  # not in the cache
        cached = Path(snapshot_download(wanted.repository, local_files_only=True)) / wanted.folder
        if is_complete(cached):
            return cached
    revision, sizes = _list_files(wanted)
    names = _select(wanted, sizes, select)
    logger.info(
        "downloading %d files, %s, of %s from the Hugging Face hub, except for cached ones: %s",
        len(names),
        format_size(sum(sizes[name] for name in names)),
        wanted,
        ", ".join(names),
    )
    try:
        exact = [glob.escape(name) for name in names]
        snapshot = snapshot_download(wanted.repository, revision=revision, allow_patterns=exact)
    except Exception as error:  # of the HTTP library that it was built with
        raise _not_given(wanted, error) from error
    return Path(snapshot) / wanted.folder


def _list_files(wanted: HubFolder) -> tuple[str | None, dict[str, int]]:
    """The commit to download, and the bytes of all files of its repository, by path."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(wanted.repository, files_metadata=True)
    except Exception as error:  # of the HTTP library that it was built with
        raise _not_given(wanted, error) from error
    return info.sha, {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _not_given(wanted: HubFolder, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())
    return CheckpointError(
        Path(str(wanted)),
        f"is not a folder, and cannot be downloaded from the Hugging Face hub: {reason}",
    )


def _select(wanted: HubFolder, sizes: Mapping[str, int], select: Selection) -> list[str]:
    prefix = f"{wanted.folder}/" if wanted.folder else ""
    inside = {n.removeprefix(prefix): size for n, size in sizes.items() if n.startswith(prefix)}
    if "config.json" not in inside and "adapter_config.json" not in inside:
        folders = sorted(
            str(PurePosixPath(name).parent)
            for name in sizes
            if name.endswith("/config.json") and not name.endswith("processor/config.json")
        )
        choices = [f"{wanted.repository}/{folder}" for folder in folders]
        hint = f"; choose one of its folders: {listed(choices, 8)}" if choices else ""
        raise CheckpointError(
            Path(str(wanted)),
            f"has no config.json on the Hugging Face hub, so it is not a checkpoint{hint}",
        )
    return [prefix + name for name in select(inside)]
