# SPDX-License-Identifier: Apache-2.0
"""Small files of a checkpoint or a backbone, and how messages name files and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError

SHOWN = 3  # names that a message lists

LFS_POINTER = b"version https://git-lfs"  # how it begins
LFS_ADVICE = "is only a pointer of Git LFS: run `git lfs pull` in its folder"


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


def is_lfs_pointer(file: Path) -> bool:
    """Whether Git has yet to be told to fetch the file itself."""
    with file.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def listed(names: Iterable[str], shown: int = SHOWN) -> str:
    """Names in a sentence, the first few of many."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def format_size(size_bytes: int) -> str:
    """For people: ``6.42 GB``."""
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if unit != "bytes" else f"{size_bytes} bytes"
