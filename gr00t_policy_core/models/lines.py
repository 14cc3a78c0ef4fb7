# SPDX-License-Identifier: Apache-2.0
"""Which line of GR00T a checkpoint is of: each has a folder beside this module."""

from __future__ import annotations

import importlib
import pkgutil
import re

from gr00t_policy_core import models
from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.model import Loader

PREFIX = "gr00t_"


def find_loader(checkpoint: Checkpoint) -> Loader:
    """The `load` of the line that config.json names.

    Raises:
        CheckpointError: It names none that is here.
    """
    model_type = checkpoint.config.get("model_type")
    folder = _snake_case(model_type) if isinstance(model_type, str) else ""
    known = known_lines()
    if folder not in known:
        raise CheckpointError(
            checkpoint.folder / "config.json",
            f"model_type is {model_type!r}; supported are the lines {known}",
        )
    loader: Loader = importlib.import_module(f"{models.__name__}.{folder}").load
    return loader


def known_lines() -> list[str]:
    """The names of the folders."""
    names = (module.name for module in pkgutil.iter_modules(models.__path__))
    return sorted(name for name in names if name.startswith(PREFIX))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
