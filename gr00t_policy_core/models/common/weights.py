# SPDX-License-Identifier: Apache-2.0
"""Loads a checkpoint's weights into modules that were built without weights."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.checkpoint import Checkpoint, LoraWeights
from gr00t_policy_core.models.common.files import format_size
from gr00t_policy_core.models.common.fused_linear import FusedLinear
from gr00t_policy_core.models.common.head import PER_EMBODIMENT
from gr00t_policy_core.models.common.weight_files import StoredTensor

SHOWN = 5  # problems that an error lists

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """The tensor that a parameter is read from.

    Args:
        name: The name of the tensor in the checkpoint.
        row: The index of the embodiment in a per-embodiment tensor; None for any other tensor.
    """

    name: str
    row: int | None = None


Naming = Callable[[str], ParameterSource]


@dataclass(frozen=True, slots=True)
class NamedModule:
    """A module, and the names of its parameters in the checkpoint."""

    module: nn.Module
    naming: Naming

    def parameters(self) -> dict[str, list[tuple[ParameterSource, tuple[int, ...]]]]:
        """The sources of each parameter and their shapes: several, stacked, for a fused layer."""
        found = {}
        for name, value in self.module.state_dict().items():
            path, _, kind = name.rpartition(".")
            owner = self.module.get_submodule(path)
            shape = tuple(value.shape)
            if isinstance(owner, FusedLinear):
                beside = path.rpartition(".")[0]
                found[name] = [
                    (self.naming(f"{beside}.{layer}.{kind}"), (width, *shape[1:]))
                    for layer, width in owner.outputs.items()
                ]
            else:
                found[name] = [(self.naming(name), shape)]
        return found


def prefixed_names(prefix: str) -> Naming:
    """Names with a prefix before the module's own."""
    return lambda name: ParameterSource(prefix + name)


def head_naming(embodiment_index: int) -> Naming:
    """The names of an action head, whose per-embodiment layers are rows of stacked tensors."""

    def source(name: str) -> ParameterSource:
        if not name.startswith(PER_EMBODIMENT):
            return ParameterSource(f"action_head.{name}")
        layer, _, kind = name.rpartition(".")
        stack = {"weight": "W", "bias": "b"}[kind]
        return ParameterSource(f"action_head.{layer}.{stack}", embodiment_index)

    return source


def check_weights(checkpoint: Checkpoint, parts: Iterable[NamedModule], unused: str) -> None:
    """Check the modules' parameters against the headers of the weight files.

    Args:
        checkpoint: The content of the checkpoint's files.
        parts: The modules of the model.
        unused: A regular expression of tensors that the checkpoint may have without use.

    Raises:
        CheckpointError: Tensors are missing, have another shape, or are unknown; the message names
            them.
    """
    problems = []
    expected = set()
    for part in parts:
        for source, shape in itertools.chain.from_iterable(part.parameters().values()):
            expected.add(source.name)
            problem = _problem(checkpoint, source, shape)
            if problem is not None:
                problems.append(problem)
    allowed = re.compile(unused)
    problems += [
        f"{name} belongs to no module of this model"
        for name in sorted(set(checkpoint.tensors) - expected)
        if not allowed.fullmatch(name)
    ]
    if problems:
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise CheckpointError(checkpoint.folder, "; ".join(problems[:SHOWN]) + more)


def load_weights(
    checkpoint: Checkpoint, parts: Iterable[NamedModule], device: torch.device, dtype: torch.dtype
) -> None:
    """Read the weights of all modules, file by file, each tensor once.

    Args:
        checkpoint: The content of the checkpoint's files.
        parts: The modules of the model, built without weights.
        device: The device that receives the weights.
        dtype: The dtype that the weights are converted to.
    """
    parts = list(parts)
    files = {stored.file for part in parts for stored in _stored(checkpoint, part)}
    for file in sorted(files):
        logger.info("reading weights from %s (%s)", file, format_size(file.stat().st_size))
    for part in parts:
        values = _read(checkpoint, part, device, dtype)
        part.module.load_state_dict(values, strict=True, assign=True)
        part.module.requires_grad_(False).eval()


def _read(
    checkpoint: Checkpoint, part: NamedModule, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    by_file: dict[Path, list[tuple[ParameterSource, Tensor]]] = {}
    values = {}
    for name, sources in part.parameters().items():
        shape = (sum(shape[0] for _, shape in sources), *sources[0][1][1:])
        values[name] = torch.empty(shape, device=device, dtype=dtype)
        targets = values[name].split([shape[0] for _, shape in sources])
        for (source, _), target in zip(sources, targets, strict=True):
            stored = checkpoint.tensors[source.name]
            by_file.setdefault(stored.file, []).append((source, target))
    for file, entries in by_file.items():
        with safe_open(str(file), framework="pt", device=str(device)) as tensors:
            for source, target in entries:
                name = checkpoint.tensors[source.name].name
                value = _tensor(tensors, name, source.row)
                if source.name in checkpoint.lora:
                    value = _merged(value, checkpoint.lora[source.name])
                target.copy_(value)
    return values


def _merged(weight: Tensor, pair: LoraWeights) -> Tensor:
    """W + scale · B · A, in float32."""
    a, b = (_whole(tensor, weight.device).float() for tensor in (pair.a, pair.b))
    return weight.float() + (b @ a) * pair.scale


def _whole(stored: StoredTensor, device: torch.device) -> Tensor:
    with safe_open(str(stored.file), framework="pt", device=str(device)) as tensors:
        return _tensor(tensors, stored.name, None)


def _stored(checkpoint: Checkpoint, part: NamedModule) -> Iterator[StoredTensor]:
    for source, _ in itertools.chain.from_iterable(part.parameters().values()):
        yield checkpoint.tensors[source.name]
        if source.name in checkpoint.lora:
            yield checkpoint.lora[source.name].a


def _tensor(tensors: Any, name: str, row: int | None) -> Tensor:
    """A tensor of an open file; with `row` one embodiment's layer, as `nn.Linear` stores it."""
    if row is None:
        value: Tensor = tensors.get_tensor(name)
        return value
    one: Tensor = tensors.get_slice(name)[row]
    # The reference stores (inputs, outputs), nn.Linear the transpose.
    return one.T.contiguous() if one.ndim == 2 else one.contiguous()


def _problem(checkpoint: Checkpoint, source: ParameterSource, shape: tuple[int, ...]) -> str | None:
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
    return f"{source.name} has shape {stored.shape}, config.json and the tag need {wanted}"
