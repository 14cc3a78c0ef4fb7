# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the JSON files of a dataset; errors name the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import DatasetError


def read_object(file: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        DatasetError: The file is missing, is not JSON, or has no object.
    """
    content = parse_json(file, read_text(file), "it")
    if not isinstance(content, dict):
        raise DatasetError(file, f"must hold an object, got {type(content).__name__}")
    return content


def read_text(file: Path) -> str:
    """Read a text file.

    Raises:
        DatasetError: The file is missing, or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(file, f"cannot be read: {error}") from error


def parse_json(file: Path, text: str, what: str) -> Any:
    """Parse JSON in a file.

    Args:
        file: The path of the file, for the error.
        text: The JSON text, which may be a part of the file.
        what: The name of that part, for the error: ``line 3``.

    Raises:
        DatasetError: The text is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise DatasetError(file, f"{what} is not JSON: {error}") from error


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file, indented."""
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_json_lines(file: Path, rows: Iterable[Any]) -> None:
    """Write a file with a JSON value on each line."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
