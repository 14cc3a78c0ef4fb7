# SPDX-License-Identifier: Apache-2.0
"""The types of fields in a checkpoint's JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gr00t_policy_core.errors import SpecError


def is_integer(value: object, minimum: int = 1) -> bool:
    """Whether a value is an integer of at least `minimum`; a bool is not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


PROCESSOR = "processor_config.json"


def read_flag(
    processor: Mapping[str, Any], name: str, default: bool, file: str = PROCESSOR
) -> bool:
    """Read a boolean field; null is false, as in the reference.

    Args:
        processor: The fields, for example processor_kwargs of processor_config.json.
        name: The name of the field.
        default: The value of an absent field.
        file: The name of the file, for the error.

    Raises:
        SpecError: The field is neither true, false nor null.
    """
    value = processor.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise SpecError(f"bad {file}", [f"{name} must be true or false, got {value!r}"])
    return bool(value)
