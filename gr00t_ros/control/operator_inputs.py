# SPDX-License-Identifier: Apache-2.0
"""The control node's inputs from an operator: teleoperation devices and a pedal."""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import Bool

from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import INTERVENTION_TOPIC
from gr00t_ros.control.intervention import TeleopDevice
from gr00t_ros.control.supervision import Supervision
from gr00t_ros.node.qos import LATCHED, SENSOR

UPDATE_PERIOD_S = 0.1  # between two messages about who drives
WARNING_PERIOD_S = 5.0  # between two logs of a command that is not followed


class OperatorInputs:
    """The subscriptions to an operator's devices, and the topic that says whether a person drives.

    `intervention` carries a std_msgs/Bool: at every change, and every `UPDATE_PERIOD_S`.

    Args:
        node: Owns the subscriptions; its clock dates the commands.
        contract: Names the pedal.
        supervision: Gets what the operator commands.
    """

    def __init__(self, node: Node, contract: Contract, supervision: Supervision) -> None:
        self._node = node
        self._supervision = supervision
        self._publisher = node.create_publisher(Bool, INTERVENTION_TOPIC, LATCHED)
        self._subscriptions: list[Subscription] = []
        for device in supervision.devices:
            on_command = partial(self._on_command, device)
            self._subscribe(device.interface.message_type, device.topic, on_command)
        if contract.motion.intervene_topic:
            self._subscribe(Bool, contract.motion.intervene_topic, self._on_pedal)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(UPDATE_PERIOD_S, self.update, clock=steady)

    def update(self) -> None:
        """Say who drives, and go into the shadow that was asked for once the robot is at rest."""
        self._supervision.update()
        self._publisher.publish(Bool(data=self._supervision.is_intervening))

    def destroy(self) -> None:
        """End the subscriptions and the topic."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._node.destroy_publisher(self._publisher)

    def _on_command(self, device: TeleopDevice, message: Any) -> None:
        refusal = self._supervision.steer(device, message, self._now_ns())
        if refusal:
            self._warn(f"the person who drives is not followed: {refusal}")

    def _on_pedal(self, message: Bool) -> None:
        refusal = self._supervision.press(message.data, self._now_ns())
        if refusal:
            self._warn(f"nobody takes over: {refusal}")
        self.update()

    def _subscribe(self, message_type: type[Any], topic: str, callback: Any) -> None:
        self._subscriptions.append(
            self._node.create_subscription(message_type, topic, callback, SENSOR)
        )

    def _warn(self, problem: str) -> None:
        self._node.get_logger().warning(problem, throttle_duration_sec=WARNING_PERIOD_S)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
