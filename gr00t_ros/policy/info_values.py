# SPDX-License-Identifier: Apache-2.0
"""The numbers and truth values in a policy's `info`, as the messages of a chunk carry them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from gr00t_ros.msg import InfoValue

MAX_VALUES = 64
MAX_DEPTH = 4


def info_values(info: Any) -> list[InfoValue]:
    """Return what an `info` says in numbers; everything else in it is left out.

    Args:
        info: The second value that a policy returned. A list or an array of one value counts as
            that value, because policies answer with one entry for each row of the batch.

    Returns:
        At most `MAX_VALUES` values; those within a dict are named ``outer.inner``.
    """
    return list(islice(_values(info, "", MAX_DEPTH), MAX_VALUES))


def _values(info: Any, prefix: str, depth: int) -> Iterator[InfoValue]:
    if not isinstance(info, Mapping) or depth == 0:
        return
    for key, value in info.items():
        name = f"{prefix}{key}"
        yield from _values(value, f"{name}.", depth - 1)
        number = _number(value)
        if number is not None:
            yield InfoValue(name=name, value=number)


def _number(value: Any) -> float | None:
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, (bool, int, float, np.bool_, np.number)) and np.isreal(value):
        return float(value)
    return None
