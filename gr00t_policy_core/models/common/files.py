# SPDX-License-Identifier: Apache-2.0
"""JSON files of a checkpoint or a backbone, and the texts of names and sizes in messages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError

SHOWN = 3  # names that a message lists

LFS_POINTER = b"version https://git-lfs"  # the first bytes
LFS_ADVICE = "is a Git LFS pointer, not the file: run `git lfs pull` in its folder"


def read_json(file: Path, *needed: str) -> dict[str, Any]:
    """Read the object in a JSON file.

    Args:
        file: The path of the file.
        needed: Names of fields that the object must have.

    Raises:
        CheckpointError: The file is missing, is not JSON, has no object, or the object lacks a
            field.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(file, "is missing") from None
    except ValueError as error:
        raise CheckpointError(file, f"is not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(file, f"must hold an object, got {type(content).__name__}")
    missing = [name for name in needed if name not in content]
    if missing:
        raise CheckpointError(file, f"lacks {', '.join(missing)}: it is of another model")
    return content


def is_lfs_pointer(file: Path) -> bool:
    """Whether the file is a Git LFS pointer instead of the content."""
    with file.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """Names joined for a message; the number of those beyond `shown`."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def format_size(size_bytes: int) -> str:
    """A size with its unit: ``6.42 GB``."""
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if unit != "bytes" else f"{size_bytes} bytes"
