# SPDX-License-Identifier: Apache-2.0
"""Reading the JSON files of a dataset; what is wrong with one is told with its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import DatasetError


def read_object(file: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        DatasetError: The file is missing, is no JSON, or holds something else.
    """
    content = parse_json(file, read_text(file), "it")
    if not isinstance(content, dict):
        raise DatasetError(file, f"must hold an object, got {type(content).__name__}")
    return content


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        DatasetError: The file is missing, or no UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(file, f"cannot be read: {error}") from error


def parse_json(file: Path, text: str, what: str) -> Any:
    """The value of a piece of a file's text; `what` names the piece in the error.

    Raises:
        DatasetError: It is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise DatasetError(file, f"{what} is not JSON: {error}") from error
