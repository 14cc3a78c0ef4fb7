# SPDX-License-Identifier: Apache-2.0
"""Notices that the policy node has ended, or hangs, while a chunk is played that it asked for.

Where chunks are asked for in turn (`inference: sync`), the age of the observation behind a long
chunk does not tell it: the chunk is played whole.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from gr00t_ros.contract.parameters import POLICY_STATUS_TOPIC
from gr00t_ros.msg import PolicyStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.node.silence import Silence, create_look_timer


class PolicyWatch:
    """Follows the policy node's status.

    A publisher of chunks that has never sent a status is not missed.

    Args:
        node: The control node.
        timeout_s: A policy node that is silent for longer has ended, s.
        on_silent: Called once with the reason when it falls silent.
    """

    def __init__(self, node: Node, *, timeout_s: float, on_silent: Callable[[str], None]) -> None:
        self._node = node
        self._timeout_s = timeout_s
        self._on_silent = on_silent
        self._silence = Silence()
        self._is_heard = False
        self._statuses = node.create_subscription(
            PolicyStatus, POLICY_STATUS_TOPIC, self._receive, STATUS
        )
        self._timer = create_look_timer(node, self._look)

    def destroy(self) -> None:
        """Follow it no more."""
        self._node.destroy_subscription(self._statuses)
        self._node.destroy_timer(self._timer)

    def _receive(self, _: PolicyStatus) -> None:
        self._is_heard = True
        self._silence.end()

    def _look(self, elapsed_s: float) -> None:
        if not self._is_heard:
            return
        self._silence.add(elapsed_s)
        if self._silence.lasted_s > self._timeout_s:
            self._is_heard = False
            self._on_silent(
                f"policy_node has sent no status for {self._silence.lasted_s:.1f} s while its "
                "chunk is played: it has ended, or hangs"
            )
