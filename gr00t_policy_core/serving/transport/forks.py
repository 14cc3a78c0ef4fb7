# SPDX-License-Identifier: Apache-2.0
"""What becomes of connections in a forked child: neither sockets nor held locks work there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgets(Protocol):
    """Something that a forked child must not use as it was."""

    def forget(self) -> None:
        """In the child, before it does anything else: begin afresh, and close nothing."""


_ALIVE: weakref.WeakSet[Forgets] = weakref.WeakSet()


def forget_in_children(alive: Forgets) -> None:
    """Have `alive.forget` called in every child that is forked while it exists."""
    _ALIVE.add(alive)


def _forget_all() -> None:
    for alive in list(_ALIVE):
        alive.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
