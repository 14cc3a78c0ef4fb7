# SPDX-License-Identifier: Apache-2.0
"""Weights from a checkpoint into modules that were built without any."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor, nn

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.head import PER_EMBODIMENT

SHOWN = 5  # names that an error lists


@dataclass(frozen=True, slots=True)
class Source:
    """Where a parameter comes from.

    Args:
        name: In the checkpoint.
        row: Which of the per-embodiment weights; None for a tensor that is not per embodiment.
    """

    name: str
    row: int | None = None


Naming = Callable[[str], Source]


@dataclass(frozen=True, slots=True)
class Part:
    """A module and how its parameters are called in the checkpoint."""

    module: nn.Module
    naming: Naming


def prefixed(prefix: str) -> Naming:
    """Parameters are called as in the module, after a prefix."""
    return lambda name: Source(prefix + name)


def head_naming(embodiment_index: int) -> Naming:
    """An action head's names: the linear layers of one embodiment are rows of stacks."""

    def source(name: str) -> Source:
        if not name.startswith(PER_EMBODIMENT):
            return Source(f"action_head.{name}")
        layer, _, kind = name.rpartition(".")
        stack = {"weight": "W", "bias": "b"}[kind]
        return Source(f"action_head.{layer}.{stack}", embodiment_index)

    return source


def check_weights(checkpoint: Checkpoint, parts: Iterable[Part], unused: str) -> None:
    """Hold the modules against the files' headers; no weight is read.

    Args:
        checkpoint: The files.
        parts: What the model consists of.
        unused: Regular expression of the tensors that may be in the checkpoint without being used.

    Raises:
        CheckpointError: Naming the tensors that are missing, of another shape, or unknown.
    """
    problems = []
    expected = set()
    for part in parts:
        for name, value in part.module.state_dict().items():
            source = part.naming(name)
            expected.add(source.name)
            problem = _problem(checkpoint, source, tuple(value.shape))
            if problem is not None:
                problems.append(problem)
    allowed = re.compile(unused)
    problems += [
        f"{name} belongs to no part of this model"
        for name in sorted(set(checkpoint.tensors) - expected)
        if not allowed.fullmatch(name)
    ]
    if problems:
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise CheckpointError(checkpoint.folder, "; ".join(problems[:SHOWN]) + more)


def load_weights(
    checkpoint: Checkpoint, parts: Iterable[Part], device: torch.device, dtype: torch.dtype
) -> None:
    """Read the weights of all parts and put them into place; file by file, each tensor once."""
    for part in parts:
        values = dict(_read(checkpoint, part, device, dtype))
        part.module.load_state_dict(values, strict=True, assign=True)
        part.module.requires_grad_(False).eval()


def _read(
    checkpoint: Checkpoint, part: Part, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    by_file: dict[str, list[tuple[str, Source]]] = {}
    for name in part.module.state_dict():
        source = part.naming(name)
        by_file.setdefault(str(checkpoint.tensors[source.name].file), []).append((name, source))
    for file, entries in by_file.items():
        with safe_open(file, framework="pt", device=str(device)) as tensors:
            for name, source in entries:
                yield name, _tensor(tensors, source).to(device=device, dtype=dtype)


def _tensor(tensors: Mapping[str, Tensor], source: Source) -> Tensor:
    if source.row is None:
        value: Tensor = tensors.get_tensor(source.name)  # type: ignore[attr-defined]
        return value
    row: Tensor = tensors.get_slice(source.name)[source.row]  # type: ignore[attr-defined]
    # The reference multiplies (inputs, outputs) from the right; nn.Linear holds the transpose.
    return row.T.contiguous() if row.ndim == 2 else row.contiguous()


def _problem(checkpoint: Checkpoint, source: Source, shape: tuple[int, ...]) -> str | None:
    stored = checkpoint.tensors.get(source.name)
    if stored is None:
        return f"{source.name} is missing"
    if source.row is None:
        matches = stored.shape == shape
        wanted: object = shape
    else:
        wanted = f"(more than {source.row}, {', '.join(map(str, reversed(shape)))})"
        matches = stored.shape[1:] == shape[::-1] and stored.shape[0] > source.row
    if matches:
        return None
    return f"{source.name} has shape {stored.shape}, config.json and the tag ask for {wanted}"
