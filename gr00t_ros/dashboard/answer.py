# SPDX-License-Identifier: Apache-2.0
"""What a button has led to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node has answered to a command."""

    success: bool
    message: str


def not_there(node: str) -> Answer:
    """The answer where a node is not running."""
    return Answer(False, f"there is no {node}: is it running?")


def no_answer(name: str, waited_s: float, *, undoing: str = "") -> Answer:
    """The answer where a node has not answered.

    Args:
        name: What was asked for.
        waited_s: How long, s.
        undoing: What undoes it if it happens later; empty for nothing.
    """
    later = "what was asked for may still happen: see the state"
    if undoing:
        later = f"if it happens later, {undoing}"
    return Answer(False, f"{name} has not answered within {waited_s:g} s; {later}")
