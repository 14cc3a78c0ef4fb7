# SPDX-License-Identifier: Apache-2.0
"""Connections in a forked child process, where neither sockets nor held locks can be used."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """An object that a forked child must not use in the state it has."""

    def reset_after_fork(self) -> None:
        """Return to the initial state, and close nothing; called first of all in the child."""


_OBJECTS: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def reset_in_forked_children(obj: ForkAware) -> None:
    """Call `obj.reset_after_fork` in every child that is forked while `obj` exists."""
    _OBJECTS.add(obj)


def _reset_all() -> None:
    for obj in list(_OBJECTS):
        obj.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
