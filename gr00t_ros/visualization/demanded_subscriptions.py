# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that exist only while somebody looks at what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Input:
    """A topic to subscribe to, and what receives its messages."""

    message_type: type[Any]
    topic: str
    receive: Callable[[Any], None]
    qos: QoSProfile


class DemandedSubscriptions:
    """Subscribes to some topics while they are demanded.

    Args:
        node: Owns the subscriptions.
        inputs: The topics.
    """

    def __init__(self, node: Node, inputs: Sequence[Input]) -> None:
        self._node = node
        self._inputs = tuple(inputs)
        self._subscriptions: list[Subscription] = []

    def demand(self, is_demanded: bool) -> None:
        """Subscribe or unsubscribe, where that is a change."""
        if is_demanded and not self._subscriptions:
            self._subscriptions = [
                self._node.create_subscription(i.message_type, i.topic, i.receive, i.qos)
                for i in self._inputs
            ]
        elif not is_demanded:
            self.destroy()

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
