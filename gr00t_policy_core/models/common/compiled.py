# SPDX-License-Identifier: Apache-2.0
"""Functions compiled with torch.compile, for a limited number of input shapes."""

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

# Our names, and the modes of torch.compile. No mode captures CUDA graphs: ours enclose the result.
MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
MAX_SHAPES = 6  # one takes a minute to compile, and torch refuses after 8 of a function

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # inductor's own

logger = logging.getLogger(__name__)


def check_mode(name: str | None) -> None:
    """Raise `SpecError` unless the name is one of `MODES`, or None for no compilation."""
    if name is not None and name not in MODES:
        raise SpecError("bad setting", [f"compile must be one of {sorted(MODES)}, got {name!r}"])


def compile_function(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """The function, compiled in one piece for each set of input shapes.

    Inductor stores the result in `cache_folder` and loads it from there after the next start.

    Args:
        function: Computes with tensors only, without graph breaks.
        mode: Our name of torch.compile's mode, a key of `MODES`.
    """
    os.environ[CACHE_VARIABLE] = str(cache_folder())
    result: Callable[..., Any] = torch.compile(
        function, mode=MODES[mode], dynamic=False, fullgraph=True
    )
    return result


def cache_folder() -> Path:
    """The folder of compiled code: $TORCHINDUCTOR_CACHE_DIR, or one in the user's cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "gr00t_policy" / "inductor"


class CompiledFunction:
    """Calls a compiled function for the first sets of input shapes, and an eager one for others.

    Args:
        compiled: From `compile_function`; it compiles when a set of shapes comes for the first
            time.
        eager: Computes the same without compilation.
        max_shapes: Number of sets of shapes that are compiled; the log says when another one comes.
    """

    def __init__(self, compiled: Function, eager: Function, max_shapes: int = MAX_SHAPES) -> None:
        self._compiled = compiled
        self._eager = eager
        self._max_shapes = max_shapes
        self._known: set[object] = set()
        self._warned = False

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        key = shapes_of(inputs)
        if key not in self._known:
            if len(self._known) >= self._max_shapes:
                self._warn_once()
                return self._eager(*inputs)
            self._known.add(key)
        return self._compiled(*inputs)

    def _warn_once(self) -> None:
        if not self._warned:
            logger.warning(
                "%d sets of input shapes are compiled; calls of other shapes run eagerly",
                self._max_shapes,
            )
            self._warned = True
