# SPDX-License-Identifier: Apache-2.0
"""Functions compiled with torch.compile, for as many sets of shapes as that pays for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.cuda_graphs import Function, shapes_of

# By our name, torch.compile's mode. None has CUDA graphs of its own: ours are around it.
MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
MAX_SHAPES = 6  # compiling one takes long; torch refuses to go on after 8 of a function

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # inductor's own

logger = logging.getLogger(__name__)


def check_mode(name: str | None) -> None:
    """Raise `SpecError` where there is no such mode; None, no compilation, is one."""
    if name is not None and name not in MODES:
        raise SpecError("bad setting", [f"compile must be one of {sorted(MODES)}, got {name!r}"])


def compiled(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, compiled in one piece for each set of shapes, in one of the `MODES`.

    Inductor keeps what it makes in `cache_folder`, and takes it from there after the next start.
    """
    os.environ[CACHE_VARIABLE] = str(cache_folder())
    result: Callable[..., Any] = torch.compile(
        function, mode=MODES[name], dynamic=False, fullgraph=True
    )
    return result


def cache_folder() -> Path:
    """Where compiled code is kept: $TORCHINDUCTOR_CACHE_DIR, or a folder in the user's cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "gr00t_policy" / "inductor"


class CompiledFunction:
    """Uses a compiled function for the first sets of shapes that come, and a plain one for others.

    Args:
        fast: Compiled.
        plain: What computes the same.
        most: How many sets of shapes are compiled; the log says so when another one comes.
    """

    def __init__(self, fast: Function, plain: Function, most: int = MAX_SHAPES) -> None:
        self._fast = fast
        self._plain = plain
        self._most = most
        self._known: set[object] = set()
        self._told = False

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        key = shapes_of(inputs)
        if key not in self._known:
            if len(self._known) >= self._most:
                self._tell()
                return self._plain(*inputs)
            self._known.add(key)
        return self._fast(*inputs)

    def _tell(self) -> None:
        if not self._told:
            logger.warning("compiled for %d sets of shapes; others are not", self._most)
            self._told = True
