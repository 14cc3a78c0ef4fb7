# SPDX-License-Identifier: Apache-2.0
"""How long another node has been silent, by looks in turn with its messages."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

CHECK_S = 0.25  # between two looks at how long a node has been silent


class Silence:
    """How long a node has been silent. Pure.

    It is summed up between two looks, not measured from the last message: a node that was busy for
    seconds has the messages of the other still before it.

    Attributes:
        lasted_s: For how long, s.
    """

    def __init__(self) -> None:
        self.lasted_s = 0.0

    def add(self, elapsed_s: float) -> None:
        """Let time pass that lies between two looks, s."""
        self.lasted_s += min(elapsed_s, 2.0 * CHECK_S)

    def end(self) -> None:
        """A message has come."""
        self.lasted_s = 0.0


def create_look_timer(node: Node, look: Callable[[float], None]) -> Timer:
    """Have `look` called every `CHECK_S` with the time since the last call, s, by steady time."""
    looked_s = time.monotonic()

    def on_timer() -> None:
        nonlocal looked_s
        now_s = time.monotonic()
        elapsed_s, looked_s = now_s - looked_s, now_s
        look(elapsed_s)

    return node.create_timer(CHECK_S, on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))
