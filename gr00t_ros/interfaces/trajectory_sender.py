# SPDX-License-Identifier: Apache-2.0
"""Sends whole trajectories, on a topic or as the goals of an action."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.time import Time
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.trajectory import Trajectory
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.interfaces.command_publisher import CommandPublisher
from gr00t_ros.interfaces.goal_chain import GoalChain
from gr00t_ros.interfaces.interface import CommandInterface


class TrajectorySender:
    """Sends the path of the actions that share one topic or one action server.

    Args:
        interface: The interface of the message that holds all of them.
        outputs: The contract's actions, in the order of the interface's joints.
        period_s: Time between two commands, s.
        channel: Publishes the message, or sends it as a goal.
    """

    def __init__(
        self,
        interface: CommandInterface,
        outputs: Sequence[ActionOutput],
        period_s: float,
        channel: CommandPublisher | GoalChain,
    ) -> None:
        self._interface = interface
        self._keys = [output.key for output in outputs]
        self._period_s = period_s
        self._channel = channel

    @property
    def keys(self) -> frozenset[str]:
        """The action keys whose path is sent."""
        return frozenset(self._keys)

    @property
    def is_taken(self) -> bool:
        """Whether there is a controller that takes the trajectories."""
        if isinstance(self._channel, GoalChain):
            return self._channel.is_server_there
        return bool(self._channel.subscribers)

    def take_failure(self) -> str:
        """Why a goal was not carried out, reported once; empty where none has failed.

        Nothing is sent from then on until `resume`: the controller holds the robot by itself.
        """
        return self._channel.take_failure() if isinstance(self._channel, GoalChain) else ""

    def resume(self) -> None:
        """Send again after a failure that was reported."""
        if isinstance(self._channel, GoalChain):
            self._channel.resume()

    def cancel(self) -> None:
        """Cancel the goal in progress; messages are not affected."""
        if isinstance(self._channel, GoalChain):
            self._channel.cancel()

    def send(self, trajectory: Trajectory) -> None:
        """Send a path from its beginning to its rest.

        Nothing is sent to a controller that has given one up, or has left the path of all others.

        Args:
            trajectory: Has the columns of all keys whose controllers are on the path.
        """
        if not self.keys <= trajectory.slices.keys():
            return
        message = self._interface.make_message(self._period_s)
        columns = np.concatenate([np.r_[trajectory.slices[key]] for key in self._keys])
        fill_trajectory(self._interface.trajectory_in(message), trajectory, columns)
        self._channel.send(message)


def fill_trajectory(message: JointTrajectory, trajectory: Trajectory, columns: Row) -> None:
    """Write a path into a message, with velocities and accelerations of its own.

    A controller joins such points by quintic splines, so position, velocity and acceleration are
    continuous. The first point is what the controller is doing already when the message arrives:
    it goes on without a step, whatever its rules for replacing a trajectory.

    Args:
        message: Has the names of the joints.
        trajectory: The path.
        columns: Where the joints lie in its rows, int (n,).
    """
    message.header.stamp = Time(nanoseconds=trajectory.start_ns).to_msg()
    rows = zip(
        trajectory.rows[:, columns],
        trajectory.velocities()[:, columns],
        trajectory.accelerations()[:, columns],
        strict=True,
    )
    message.points = [
        JointTrajectoryPoint(
            positions=array("d", positions.tobytes()),
            velocities=array("d", velocities.tobytes()),
            accelerations=array("d", accelerations.tobytes()),
            time_from_start=_duration(index * trajectory.period_ns),
        )
        for index, (positions, velocities, accelerations) in enumerate(rows)
    ]


def _duration(nanoseconds: int) -> Duration:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Duration(sec=seconds, nanosec=rest)
