# SPDX-License-Identifier: Apache-2.0
"""Observations of several clients joined along B, and their answer taken apart again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gr00t_policy_core.errors import PolicyError


def layout(observation: Any) -> tuple[Hashable, int] | None:
    """What observations must have in common to be joined, and the B of this one.

    Args:
        observation: Nested or flat dicts of arrays ``(B, …)`` and of lists or tuples of B entries.

    Returns:
        Keys, dtypes and shapes without B; None where there is no B, or not the same everywhere.
    """
    leaves = list(_leaves(observation, ()))
    sizes = {size for _, size in leaves}
    if len(sizes) != 1 or 0 in sizes or -1 in sizes:
        return None
    return tuple(form for form, _ in leaves), sizes.pop()


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Hashable, int]]:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, np.ndarray) and value.ndim:
        yield (path, value.dtype.str, value.shape[1:]), len(value)
    elif isinstance(value, (list, tuple)):
        yield (path, type(value).__name__), len(value)
    else:
        yield (path,), -1


def join(values: Sequence[Any]) -> Any:
    """Join observations of one `layout` along B."""
    first = values[0]
    if isinstance(first, Mapping):
        return {key: join([value[key] for value in values]) for key in first}
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    return type(first)(row for value in values for row in value)


def split(action: Any, info: Any, sizes: Sequence[int]) -> list[tuple[Any, Any]]:
    """Take the answer to a joined observation apart.

    Args:
        action: ``{key: (B, horizon, D)}``, B the sum of `sizes`.
        info: Its arrays and lists of B entries have one for each row; all else concerns every row.
        sizes: The B of each request, in order.

    Raises:
        PolicyError: The action has not one row for each row of the observation.
    """
    total = sum(sizes)
    if not isinstance(action, Mapping):
        raise PolicyError("the policy's action is no map")
    for key, values in action.items():
        if not isinstance(values, np.ndarray) or values.ndim == 0 or len(values) != total:
            raise PolicyError(f"the policy answered {total} rows with another number in {key!r}")
    answers = []
    end = 0
    for size in sizes:
        start, end = end, end + size
        rows = slice(start, end)
        part = {key: values[rows] for key, values in action.items()}
        answers.append((part, _rows(info, rows, total)))
    return answers


def _rows(info: Any, rows: slice, total: int) -> Any:
    if isinstance(info, Mapping):
        return {key: _rows(value, rows, total) for key, value in info.items()}
    if isinstance(info, np.ndarray) and info.ndim == 0:
        return info
    if isinstance(info, (np.ndarray, list, tuple)) and len(info) == total:
        return info[rows]
    return info
