# SPDX-License-Identifier: Apache-2.0
"""One publisher for each command topic; its message is made once and filled at every tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.interfaces.interface import CommandInterface
from gr00t_ros.node.qos import COMMAND

Values = Mapping[str, Row]


class CommandPublisher:
    """Publishes the actions that share one topic.

    Args:
        node: Owns the publisher, which is silent while the node is not active.
        outputs: The contract's actions of the topic, in order.
        interface: The interface of the message that holds all of them.
        period_s: Time between two commands, s.
    """

    def __init__(
        self,
        node: LifecycleNode,
        outputs: Sequence[ActionOutput],
        interface: CommandInterface,
        period_s: float,
    ) -> None:
        self._node = node
        self._keys = [output.key for output in outputs]
        self._interface = interface
        self._message = interface.make_message(period_s)
        self._publisher = node.create_lifecycle_publisher(
            interface.message_type, outputs[0].topic, COMMAND
        )

    def publish(self, values: Values, stamp: Time) -> None:
        """Publish one command.

        Args:
            values: float64 (D,) by action key, in SI units and rad.
            stamp: The time of the command, for messages that have a header.
        """
        rows = [values[key] for key in self._keys]
        row = rows[0] if len(rows) == 1 else np.concatenate(rows)
        self._interface.fill(self._message, row, stamp)
        self.send(self._message)

    def send(self, message: Any) -> None:
        """Publish a message that holds everything already."""
        self._publisher.publish(message)

    @property
    def topic(self) -> str:
        """The resolved name of the command topic."""
        return str(self._publisher.topic_name)

    @property
    def subscribers(self) -> int:
        """The number of matched subscriptions: same message type, compatible QoS."""
        return int(self._publisher.get_subscription_count())

    def wait_until_arrived(self, timeout_s: float) -> bool:
        """Wait for the last command to arrive; returns whether all subscribers have it in time."""
        return bool(self._publisher.wait_for_all_acked(Duration(seconds=timeout_s)))

    def destroy(self) -> None:
        """Destroy the publisher; a command that has not arrived is lost."""
        self._node.destroy_lifecycle_publisher(self._publisher)


def joined_interface(outputs: Sequence[ActionOutput]) -> CommandInterface:
    """Return the interface of the message that holds all actions of one topic.

    Raises:
        ValueError: No message of their type can.
    """
    first, *others = [output.interface.carrier for output in outputs]
    interface = first.joined(others) if others else first
    if interface is None:
        keys = ", ".join(output.key for output in outputs)
        raise ValueError(f"{outputs[0].type} cannot carry {keys} together")
    return interface
