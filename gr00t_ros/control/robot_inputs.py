# SPDX-License-Identifier: Apache-2.0
"""The control node's inputs from the robot: measurements, description, enable signal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from std_msgs.msg import Bool, String

from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.control.robot_description import RobotDescription
from gr00t_ros.control.robot_state import RobotState
from gr00t_ros.interfaces.interface import ConversionError, StateInterface
from gr00t_ros.interfaces.stamps import ahead_text, stamp_ns
from gr00t_ros.node.qos import DESCRIPTION, SENSOR
from gr00t_ros.node.rejected_messages import AHEAD, RejectedMessages

WARNING_PERIOD_S = 5.0  # between two logs of a measurement that cannot be used


class RobotInputs:
    """The subscriptions of the control node to topics of the robot.

    Args:
        node: Owns the subscriptions; its clock stamps messages that carry no stamp.
        contract: Names the topics and the messages that they carry.
        gate: Receives the enable signal, and whether the description allows motion.
        robot: Receives the measurements, and the limits of the description.

    Attributes:
        description: The current robot description.
        rejected: The measurements whose stamps cannot be true, by topic.
    """

    def __init__(self, node: Node, contract: Contract, gate: MotionGate, robot: RobotState) -> None:
        self._node = node
        self._gate = gate
        self._robot = robot
        self._subscriptions: list[Subscription] = []
        self._measurements: list[Subscription] = []
        self._skew_ns = round(contract.max_skew_s * 1e9)
        self.rejected = RejectedMessages()
        self.description = RobotDescription(contract)
        settings = contract.motion
        timeout_ns = round(settings.enable_timeout_s * 1e9)
        gate.require_enable(timeout_ns if settings.enable_topic else None)
        gate.block("robot description", self.description.motion_obstacle())
        for topic, interfaces in robot.joints.interfaces.items():
            on_joints = partial(self.on_joints, topic, interfaces)
            message_type = interfaces[0].message_type
            self._measurements.append(self._subscribe(message_type, topic, on_joints, SENSOR))
        for key, stream in robot.poses.streams.items():
            on_pose = partial(self.on_pose, key, stream)
            message_type = stream.interface.message_type
            self._measurements.append(self._subscribe(message_type, stream.topic, on_pose, SENSOR))
        if settings.enable_topic:
            self._subscribe(Bool, settings.enable_topic, self.on_enable, SENSOR)
        for topic in settings.robot_description_topics:
            self._subscribe(String, topic, partial(self.on_description, topic), DESCRIPTION)

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._measurements.clear()

    def read_measurements(self) -> None:
        """Read the measurements that have arrived; only for a callback of this node's executor.

        The executor reads none while a transition, which is such a callback, waits for the robot.
        """
        if not self._node.context.ok():
            return
        for subscription in self._measurements:
            for _ in range(SENSOR.depth):
                if (message := _take(subscription)) is not None:
                    subscription.callback(message)

    def on_joints(self, topic: str, interfaces: Sequence[StateInterface], message: Any) -> None:
        """Pass measured joint positions to the robot's state.

        Args:
            topic: The topic of the message.
            interfaces: Read the joint positions from the message.
            message: One message of a topic of joint states.
        """
        stamped_ns = self._believable_stamp_ns(topic, message)
        if stamped_ns is None:
            return
        try:
            for interface in interfaces:
                self._robot.measure_joints(*interface.joint_positions(message), stamped_ns)
        except ConversionError as error:
            self._warn(str(error))

    def on_pose(self, key: str, stream: StateStream, message: Any) -> None:
        """Pass a measured pose to the robot's state.

        Args:
            key: The action key that commands the pose.
            stream: Reads the pose from the message.
            message: One message of the pose's topic.
        """
        stamped_ns = self._believable_stamp_ns(stream.topic, message)
        if stamped_ns is None:
            return
        try:
            pose = stream.interface.pose(message)
            problem = self._robot.measure_pose(key, pose, stamped_ns)
        except ConversionError as error:
            problem = str(error)
        if problem:
            self._warn(problem)

    def on_enable(self, message: Bool) -> None:
        """Pass the enable signal to the gate."""
        self._gate.enable(message.data, time.monotonic_ns())

    def on_description(self, topic: str, message: String) -> None:
        """Use a robot description, unless one from a preferred topic has arrived.

        Args:
            topic: The topic that it was published on.
            message: Carries the URDF document.
        """
        logger, description = self._node.get_logger(), self.description
        try:
            is_used = description.update(topic, message.data)
        except ValueError as error:
            logger.error(f"limits of the robot description on {topic} are not used: {error}")
            return
        if not is_used:
            logger.info(f"the robot description on {description.topic} precedes the one on {topic}")
            return
        logger.info(f"the limits of the robot description on {topic} are used")
        for warning in description.warnings():
            logger.warning(warning)
        obstacle = description.motion_obstacle()
        self._gate.block("robot description", obstacle)
        if not obstacle:
            self._robot.take_limits(description.limits, self._now_ns(), description.chains)

    def _subscribe(
        self, message_type: type[Any], topic: str, callback: Any, qos: QoSProfile
    ) -> Subscription:
        subscription = self._node.create_subscription(message_type, topic, callback, qos)
        self._subscriptions.append(subscription)
        return subscription

    def _warn(self, problem: str) -> None:
        self._node.get_logger().warning(problem, throttle_duration_sec=WARNING_PERIOD_S)

    def _believable_stamp_ns(self, topic: str, message: Any) -> int | None:
        """The time of a measurement, ns; None, and counted, where it is ahead of the clock."""
        now_ns = self._now_ns()
        stamped_ns = stamp_ns(message, now_ns)
        ahead = ahead_text(stamped_ns, now_ns, self._skew_ns)
        if not ahead:
            return stamped_ns
        self.rejected.add(topic, AHEAD, ahead)
        self._warn(f"{topic}: a message is rejected, {AHEAD} ({ahead}): clocks differ")
        return None

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _take(subscription: Subscription) -> Any | None:
    """The next message that has arrived; None where there is none (as rclpy.wait_for_message)."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    return taken[0] if taken is not None else None
