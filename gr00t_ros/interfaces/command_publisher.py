# SPDX-License-Identifier: Apache-2.0
"""One publisher for each command topic; its message is made once and filled at every tick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.node.qos import COMMAND

# Time for the last command, which may be a zero velocity, to arrive before the publisher ends.
ACKNOWLEDGED = Duration(seconds=1.0)

Values = Mapping[str, Row]


class CommandPublisher:
    """Publishes the actions that share one topic.

    Args:
        node: Owns the publisher, which is silent while the node is not active.
        outputs: The contract's actions of the topic, in order.
        period_s: Time between two commands, s.

    Raises:
        ValueError: No message of their type can hold all of the actions.
    """

    def __init__(
        self, node: LifecycleNode, outputs: Sequence[ActionOutput], period_s: float
    ) -> None:
        self._node = node
        self._keys = [output.key for output in outputs]
        first, *others = [output.interface.carrier for output in outputs]
        interface = first.joined(others) if others else first
        if interface is None:
            raise ValueError(f"{outputs[0].type} cannot carry {', '.join(self._keys)} together")
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
        self._publisher.publish(self._message)

    @property
    def topic(self) -> str:
        """The resolved name of the command topic."""
        return str(self._publisher.topic_name)

    @property
    def subscribers(self) -> int:
        """The number of matched subscriptions: same message type, compatible QoS."""
        return int(self._publisher.get_subscription_count())

    def destroy(self) -> None:
        """Destroy the publisher once its last command has arrived or is not acknowledged."""
        self._publisher.wait_for_all_acked(ACKNOWLEDGED)
        self._node.destroy_lifecycle_publisher(self._publisher)


def command_publishers(node: LifecycleNode, contract: Contract) -> Iterator[CommandPublisher]:
    """Make the publishers of a contract: actions that share a topic share a message."""
    period_s = 1.0 / contract.control_rate_hz
    topics = dict.fromkeys(output.topic for output in contract.action)
    for topic in topics:
        outputs = [output for output in contract.action if output.topic == topic]
        yield CommandPublisher(node, outputs, period_s)
