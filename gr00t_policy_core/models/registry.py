# SPDX-License-Identifier: Apache-2.0
"""The model lines of GR00T. Each is a package beside this module, named as its ``model_type``."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError, SpecError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.model import Inspector, Loader, RandomBuilder

PACKAGE = __name__.rpartition(".")[0]
FOLDERS = [str(Path(__file__).parent)]
PREFIX = "gr00t_"


def find_loader(checkpoint: Checkpoint) -> Loader:
    """The `load` function of a checkpoint's model line.

    Raises:
        CheckpointError: The ``model_type`` in config.json is of no model line here.
    """
    loader: Loader = _package_of(checkpoint).load
    return loader


def find_inspector(checkpoint: Checkpoint) -> Inspector:
    """The `inspect` function of a checkpoint's model line; raises as `find_loader`."""
    inspector: Inspector = _package_of(checkpoint).inspect
    return inspector


def find_line(model_type: object) -> str | None:
    """The package of a ``model_type``; None if it is of no model line here."""
    name = _snake_case(model_type) if isinstance(model_type, str) else ""
    return name if name in known_lines() else None


def unknown_model_type(model_type: object) -> str:
    """The error text for a ``model_type`` of no model line here."""
    return (
        f"model_type {model_type!r} is not supported; supported are {known_lines()}, and LeRobot's "
        "checkpoints of type 'groot'"
    )


def find_random_builder(line: str) -> RandomBuilder:
    """The `random_model` function of a model line, for benchmarks.

    Args:
        line: The name of its package, with or without ``gr00t_``: ``n1d7``.

    Raises:
        SpecError: There is no such model line.
    """
    name = PREFIX + line.removeprefix(PREFIX)
    if name not in known_lines():
        names = [known.removeprefix(PREFIX) for known in known_lines()]
        raise SpecError("unknown model", [f"must be one of {names}, got {line!r}"])
    builder: RandomBuilder = _package(name).random_model
    return builder


def known_lines() -> list[str]:
    """The package names of all model lines, sorted."""
    packages = (module.name for module in pkgutil.iter_modules(FOLDERS) if module.ispkg)
    return sorted(name for name in packages if name.startswith(PREFIX))


def _package_of(checkpoint: Checkpoint) -> Any:
    model_type = checkpoint.config.get("model_type")
    name = find_line(model_type)
    if name is None:
        raise CheckpointError(checkpoint.folder / "config.json", unknown_model_type(model_type))
    return _package(name)


def _package(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
