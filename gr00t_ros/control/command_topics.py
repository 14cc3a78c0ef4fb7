# SPDX-License-Identifier: Apache-2.0
"""The command topics of the robot: where its commands go, and who subscribes to them."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.contract.contract import Contract
from gr00t_ros.interfaces.command_publisher import CommandPublisher, command_publishers
from gr00t_ros.msg import CommandTopicStatus


class CommandTopics:
    """Publishes commands on the topics of a contract, and counts them.

    Args:
        node: Owns the publishers, which are silent while the node is not active.
        contract: Names the topics and what each carries.
    """

    def __init__(self, node: LifecycleNode, contract: Contract) -> None:
        self._publishers: list[CommandPublisher] = []
        self._count = 0
        try:
            self._publishers.extend(command_publishers(node, contract))
        except Exception:
            self.destroy()
            raise

    @property
    def count(self) -> int:
        """The number of control ticks whose commands were published."""
        return self._count

    @property
    def topics_without_subscriber(self) -> list[str]:
        """The command topics that no controller subscribes to, resolved."""
        return [one.topic for one in self._publishers if not one.subscribers]

    def publish(self, values: Mapping[str, Row], now: Time) -> None:
        """Publish the commands of one tick.

        Args:
            values: float64 (D,) by action key, in SI units and rad.
            now: Time of the tick, which stamps the messages.
        """
        stamp = now.to_msg()
        for publisher in self._publishers:
            publisher.publish(values, stamp)
        self._count += 1

    def status(self) -> list[CommandTopicStatus]:
        """The number of subscribers of each command topic."""
        return [
            CommandTopicStatus(topic=one.topic, subscription_count=one.subscribers)
            for one in self._publishers
        ]

    def destroy(self) -> None:
        """Destroy the publishers once their last commands have arrived or are not acknowledged."""
        for publisher in self._publishers:
            publisher.destroy()
        self._publishers.clear()
