# SPDX-License-Identifier: Apache-2.0
"""A person's hand on a teleoperation device, for the simulated arm of the demo."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

TELEOP_TOPIC = "leader/joint_trajectory"
ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_yaw", "wrist_roll")


class LeaderArm:
    """A leader arm that stands where the robot's arm does: who drives with it holds it still."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(JointTrajectory, TELEOP_TOPIC, 1)
        node.create_subscription(JointState, "joint_states", self._follow, qos_profile_sensor_data)

    def _follow(self, state: JointState) -> None:
        measured = dict(zip(state.name, state.position, strict=True))
        point = JointTrajectoryPoint(positions=[measured[name] for name in ARM])
        self._publisher.publish(JointTrajectory(joint_names=ARM, points=[point]))
