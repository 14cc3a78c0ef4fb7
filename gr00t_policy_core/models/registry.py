# SPDX-License-Identifier: Apache-2.0
"""Which line of GR00T a checkpoint is of: each has a folder beside this module."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

from gr00t_policy_core import models
from gr00t_policy_core.errors import CheckpointError, SpecError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.model import Inspector, Loader, RandomBuilder

PREFIX = "gr00t_"


def find_loader(checkpoint: Checkpoint) -> Loader:
    """The `load` of the line that config.json names.

    Raises:
        CheckpointError: It names none that is here.
    """
    model_type = checkpoint.config.get("model_type")
    folder = find_line(model_type)
    if folder is None:
        raise CheckpointError(checkpoint.folder / "config.json", unknown_model_type(model_type))
    loader: Loader = _line(folder).load
    return loader


def find_inspector(checkpoint: Checkpoint) -> Inspector:
    """The `examine` of the line that config.json names; raises as `find_loader`."""
    model_type = checkpoint.config.get("model_type")
    folder = find_line(model_type)
    if folder is None:
        raise CheckpointError(checkpoint.folder / "config.json", unknown_model_type(model_type))
    examiner: Inspector = _line(folder).examine
    return examiner


def find_line(model_type: object) -> str | None:
    """The folder of the line that config.json names as ``model_type``, None for another model."""
    folder = _snake_case(model_type) if isinstance(model_type, str) else ""
    return folder if folder in known_lines() else None


def unknown_model_type(model_type: object) -> str:
    """What an error says of a ``model_type`` that is no line's."""
    return (
        f"model_type is {model_type!r}: it is of another model; supported are the lines "
        f"{known_lines()}, and what LeRobot saves with type 'groot'"
    )


def find_random_builder(line: str) -> RandomBuilder:
    """The `random_model` of a line, for benchmarks.

    Args:
        line: The name of its folder, with or without ``gr00t_``.

    Raises:
        SpecError: There is no such line.
    """
    folder = PREFIX + line.removeprefix(PREFIX)
    if folder not in known_lines():
        names = [name.removeprefix(PREFIX) for name in known_lines()]
        raise SpecError("unknown model", [f"must be one of {names}, got {line!r}"])
    builder: RandomBuilder = _line(folder).random_model
    return builder


def known_lines() -> list[str]:
    """The names of the folders."""
    names = (module.name for module in pkgutil.iter_modules(models.__path__))
    return sorted(name for name in names if name.startswith(PREFIX))


def _line(folder: str) -> Any:
    return importlib.import_module(f"{models.__name__}.{folder}")


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
