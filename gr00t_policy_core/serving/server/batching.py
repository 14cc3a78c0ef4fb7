# SPDX-License-Identifier: Apache-2.0
"""Joins the observations of several clients along B, and splits the action again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gr00t_policy_core.errors import PolicyError


def layout(observation: Any) -> tuple[Hashable, int] | None:
    """Return the layout that observations must share to be joined, and the B of this one.

    Args:
        observation: Nested or flat dicts of arrays ``(B, …)`` and of lists or tuples of B entries.

    Returns:
        Keys, dtypes and shapes without B, and B; None where the entries have no common B.
    """
    leaves = list(_leaves(observation, ()))
    sizes = {size for _, size in leaves}
    if len(sizes) != 1 or 0 in sizes or -1 in sizes:
        return None
    return tuple(key for key, _ in leaves), sizes.pop()


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
    """Join observations of the same `layout` along B."""
    first = values[0]
    if isinstance(first, Mapping):
        return {key: join([value[key] for value in values]) for key in first}
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    return type(first)(row for value in values for row in value)


def split(action: Any, info: Any, sizes: Sequence[int]) -> list[tuple[Any, Any]]:
    """Split the answer to a joined observation.

    Args:
        action: ``{key: (B, horizon, D)}``, B the sum of `sizes`.
        info: Arrays and lists of B entries are split by row; everything else goes to each request.
        sizes: The B of each request, in the order of `join`.

    Returns:
        An action and an info for each request.

    Raises:
        PolicyError: The action does not have one row for each row of the observation.
    """
    total = sum(sizes)
    if not isinstance(action, Mapping):
        raise PolicyError("the policy's action is not a map")
    for key, values in action.items():
        if not isinstance(values, np.ndarray) or values.ndim == 0 or len(values) != total:
            raise PolicyError(f"the policy returned another number of rows than {total} in {key!r}")
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
