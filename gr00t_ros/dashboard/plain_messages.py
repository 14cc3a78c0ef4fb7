# SPDX-License-Identifier: Apache-2.0
"""Turns our messages into what JSON can hold: numbers that are not finite become null. Pure."""

from __future__ import annotations

import json
import math
from typing import Any


def json_of(kind: str, message: Any) -> str:
    """A message as JSON, `{"kind": kind, "message": {field: value}}`.

    Args:
        kind: What the page knows it by.
        message: A ROS message without large arrays.
    """
    return json.dumps({"kind": kind, "message": plain(message)}, allow_nan=False)


def plain(value: Any) -> Any:
    """The fields of a message, and of the messages within it, as dicts, lists and numbers."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, bool, int)):
        return value
    return [plain(item) for item in value]
