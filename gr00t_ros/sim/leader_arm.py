# SPDX-License-Identifier: Apache-2.0
"""Commands the simulated arm over DDS as a leader arm does, moved by the scripted expert."""

from __future__ import annotations

import time

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_ros.sim.expert import Plan, plan_duration_s, targets_at
from gr00t_ros.sim.kinematics import HOME, JOINT_NAMES, ArmGeometry, joint_targets

TOPIC = "arm/joint_trajectory"
RATE_HZ = 100.0


class LeaderArm:
    """Publishes commands at 100 Hz: home, or along a plan of the expert.

    Args:
        node: Publishes; another thread spins it.
        geometry: Lengths of the arm's links, m.
    """

    def __init__(self, node: Node, geometry: ArmGeometry) -> None:
        self._geometry = geometry
        self._motion: tuple[Plan, float] | None = None  # a plan, and when it began
        self._node = node
        self._publisher = node.create_publisher(JointTrajectory, TOPIC, 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(1.0 / RATE_HZ, self._publish, clock=steady)

    def heard_by(self) -> int:
        """How many nodes receive the commands."""
        return int(self._publisher.get_subscription_count())

    def follow(self, plan: Plan) -> float:
        """Move along a plan from now on, and rest at its end; returns how long that takes, s."""
        self._motion = (plan, time.monotonic())
        return plan_duration_s(plan)

    def _publish(self) -> None:
        motion = self._motion
        if motion is None:
            positions = list(joint_targets(self._geometry, HOME))
        else:
            plan, begun_s = motion
            positions = targets_at(self._geometry, plan, time.monotonic() - begun_s).tolist()
        # A single point at 0 s: go there now.
        point = JointTrajectoryPoint(positions=positions)
        self._publisher.publish(JointTrajectory(joint_names=list(JOINT_NAMES), points=[point]))
