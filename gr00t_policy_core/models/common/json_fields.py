# SPDX-License-Identifier: Apache-2.0
"""What kind of value a field of a checkpoint's JSON files has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gr00t_policy_core.errors import SpecError


def is_integer(value: object, least: int = 1) -> bool:
    """Whether it is an integer of at least so much; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


PROCESSOR = "processor_config.json"


def read_flag(
    processor: Mapping[str, Any], name: str, default: bool, file: str = PROCESSOR
) -> bool:
    """A switch of processor_config.json; null is off, as in the reference.

    Args:
        processor: Its processor_kwargs.
        name: Of the switch.
        default: Where it is left out.
        file: That it is of, where that is another.

    Raises:
        SpecError: It is neither true, false nor null.
    """
    value = processor.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise SpecError(f"bad {file}", [f"{name} must be true or false, got {value!r}"])
    return bool(value)
