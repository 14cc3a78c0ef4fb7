# SPDX-License-Identifier: Apache-2.0
"""A robot whose controller takes whole trajectories over DDS, and what it receives."""

from __future__ import annotations

import numpy as np
import pytest
from control_ramps import MakeNode, now_ns
from helpers import require_within, wait_until
from nodes_for_tests import chunk_of
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from bench.trajectory_controller import Point, TrajectoryController
from gr00t_policy_core.control.trajectory import BrakeMotion, Forecast, Trajectory
from gr00t_ros.control.control_node import ControlNode

NAMES = ["shoulder", "elbow", "finger"]
PERIOD_S = 0.01
LIMITS = {"velocity": 3.0, "acceleration": 25.0, "jerk": 500.0}
MODE = {"action__arm__mode": "trajectory", "action__gripper__mode": "trajectory"}


def braking_way(speed: float) -> float:
    """No less than the way on which a joint comes to rest, rad, by its acceleration and jerk."""
    return speed / 2 * (speed / LIMITS["acceleration"] + np.sqrt(4 * speed / LIMITS["jerk"]))


def points_of(message: JointTrajectory) -> list[Point]:
    return [
        Point(
            point.time_from_start.sec + point.time_from_start.nanosec * 1e-9,
            np.array(point.positions),
            np.array(point.velocities),
            np.array(point.accelerations),
        )
        for point in message.points
    ]


def position_at(message: JointTrajectory, now_s: float) -> np.ndarray:
    """Where the path is at a time, s."""
    points = points_of(message)
    index = round((now_s - start_s(message)) / PERIOD_S)
    return points[min(max(index, 0), len(points) - 1)].position


def moving_until_s(message: JointTrajectory) -> float:
    """How long after its stamp the path comes to rest, s."""
    moving = [p.time_s for p in points_of(message) if np.abs(p.velocity).max() > 1e-9]
    return max(moving, default=0.0)


def start_s(message: JointTrajectory) -> float:
    """When the path begins, s."""
    return float(message.header.stamp.sec + message.header.stamp.nanosec * 1e-9)


def end_s(message: JointTrajectory) -> float:
    """When the path comes to rest, s."""
    return start_s(message) + moving_until_s(message)


class Robot:
    """A controller that plays the trajectories it receives, and joint states of where it is.

    Attributes:
        braked_at_once_ns: The stamps of the trajectories that were sent in place of late ones.
        lost: How many trajectories do not reach the controller from now on.
    """

    def __init__(self, peer: Node) -> None:
        self._peer = peer
        self.braked_at_once_ns: set[int] = set()
        self.lost = 0
        self.controller = TrajectoryController(np.zeros(3))
        self.received: list[JointTrajectory] = []
        self.rejections: list[str] = []
        self.path: list[tuple[float, np.ndarray]] = []
        peer.create_subscription(JointTrajectory, "commands", self._on_trajectory, 10)
        self._states = peer.create_publisher(JointState, "joint_states", 10)
        peer.create_timer(0.005, self._update)

    def attend(self, node: ControlNode) -> None:
        """Serve a node from now on, and note where it brakes at once."""
        self.node, self.forecaster = node, node._activation.forecaster
        forecasts = node._motion.forecasts
        finish = forecasts.finish

        def noted(forecast: Forecast, made: Trajectory, now_ns: int) -> Trajectory | None:
            sent = finish(forecast, made, now_ns)
            if sent is not None and sent is not made:
                self.braked_at_once_ns.add(sent.start_ns)
            return sent

        forecasts.finish = noted

    def rests(self) -> bool:
        """Whether the controller has come to the end of the newest trajectory."""
        end = points_of(self.received[-1])[-1].position
        return bool(np.array_equal(self.controller.position, end))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        self.received.append(message)
        assert list(message.joint_names) == NAMES
        if self.lost:
            self.lost -= 1
            return
        now_s = now_ns(self._peer) * 1e-9
        why = self.controller.receive(start_s(message), points_of(message), now_s)
        if why:
            self.rejections.append(why)

    def _update(self) -> None:
        stamp_ns = now_ns(self._peer)
        position = self.controller.update(stamp_ns * 1e-9, self.controller.position)
        self.path.append((stamp_ns * 1e-9, position.copy()))
        message = JointState(name=NAMES, position=position.tolist())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self._states.publish(message)


def play(
    robot: Robot,
    chunks: Publisher,
    peer: Node,
    number: int,
    *,
    start: float,
    speed: float = 0.5,
    horizon: int = 20,
) -> None:
    """A chunk in which all joints climb, of one second unless `horizon` says otherwise.

    One that arrives after its last step is rejected; then a fresh one follows, as from a policy.
    """
    climb = start + speed * 0.05 * np.arange(horizon)[:, None]
    values = {"arm": np.hstack([climb, climb]), "gripper": climb}
    motion = robot.node._motion
    accepted, rejected = motion.counts.chunks, motion.chunks_rejected - 1

    def is_accepted() -> bool:
        nonlocal rejected
        if motion.counts.chunks == accepted and motion.chunks_rejected > rejected:
            rejected = motion.chunks_rejected
            chunks.publish(chunk_of(values, t0_ns=now_ns(peer), dt_s=0.05, chunk_id=number))
        return motion.counts.chunks > accepted

    wait_until(is_accepted, what=f"chunk {number} is accepted")


def play_until_it_moves(robot: Robot, chunks: Publisher, peer: Node) -> None:
    """Fresh chunks, as from a policy, until one is carried out: a busy machine may refuse some."""
    number, played_ns = 0, 0

    def moves() -> bool:
        nonlocal number, played_ns
        if now_ns(peer) - played_ns > 2 * 10**9:
            number, played_ns = number + 1, now_ns(peer)
            play(robot, chunks, peer, number, start=float(robot.controller.position[0]))
        return bool(robot.controller.position[0] > 0.1)

    wait_until(moves, what="it moves")


def running(activate_node: MakeNode, ros_node: Node, **changes: object) -> Robot:
    robot = Robot(ros_node)
    node = activate_node(stands_at=(0.0, 0.0, 0.0), **MODE, **changes)
    node.arm._timer.cancel()  # the robot here is the controller's
    robot.attend(node)
    return robot


def moving(
    activate_node: MakeNode,
    chunks: Publisher,
    ros_node: Node,
    *,
    past: float = 0.1,
    speed: float = 0.5,
    **changes: object,
) -> Robot:
    """A robot on the way of its first chunk, whose shoulder is past a position (rad).

    The chunk takes five seconds: nothing that a busy machine does meanwhile comes after its end.
    """
    robot = running(activate_node, ros_node, **changes)
    play(robot, chunks, ros_node, 1, start=0.0, speed=speed, horizon=100)
    wait_until(lambda: robot.controller.position[0] > past, what="it moves")
    return robot


def require_trajectory(robot: Robot, message: JointTrajectory) -> None:
    """Positions that keep the limits, with their own derivatives, from the stamp to a rest.

    On a machine that is too busy to plan in time, one that brakes at once has no regard to jerk.
    """
    stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    jerk = np.inf if stamp_ns in robot.braked_at_once_ns else LIMITS["jerk"]
    points = points_of(message)
    positions = np.stack([point.position for point in points])
    velocities = np.stack([point.velocity for point in points])
    accelerations = np.stack([point.acceleration for point in points])
    times_s = np.array([point.time_s for point in points])
    assert np.allclose(times_s, PERIOD_S * np.arange(len(points)))
    assert np.allclose(velocities[1:-1], (positions[2:] - positions[:-2]) / (2 * PERIOD_S))
    assert np.allclose(accelerations[1:-1], np.diff(positions, n=2, axis=0) / PERIOD_S**2)
    assert not velocities[-1].any()
    assert not accelerations[-1].any()
    for joint in range(3):
        require_within(positions[:, joint], period_s=PERIOD_S, **{**LIMITS, "jerk": jerk})


def make_forecasts_slow(monkeypatch: pytest.MonkeyPatch, peer: Node, slow_s: float) -> None:
    """Have forecasts take longer, s, but for a brake at once, of which nothing is planned."""
    run = Forecast.run

    def slow(forecast: Forecast) -> Trajectory | None:
        begun_ns, trajectory = now_ns(peer), run(forecast)
        if not isinstance(forecast._motion, BrakeMotion):
            wait_until(lambda: now_ns(peer) - begun_ns > slow_s * 1e9, what=f"{slow_s} s")
        return trajectory

    monkeypatch.setattr(Forecast, "run", slow)
