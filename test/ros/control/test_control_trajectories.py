# SPDX-License-Identifier: Apache-2.0
"""mode: trajectory over DDS: what a controller of whole trajectories receives."""

from __future__ import annotations

import numpy as np
import pytest
from control_ramps import MakeNode, now_ns
from helpers import require_within, wait_until
from nodes_for_tests import DEACTIVATE, Operator, chunk_of
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from trajectory_rig import (
    LIMITS,
    NAMES,
    PERIOD_S,
    braking_way,
    end_s,
    make_forecasts_slow,
    moving,
    moving_until_s,
    play,
    play_until_it_moves,
    points_of,
    position_at,
    require_trajectory,
    running,
    start_s,
)

from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.trajectory import Forecast
from gr00t_ros.control import activation
from gr00t_ros.msg import ControlStatus


def test_each_chunk_is_one_trajectory_to_its_rest_and_a_stop_another(
    activate_node: MakeNode, chunks: Publisher, operator: Operator, ros_node: Node
) -> None:
    robot = moving(activate_node, chunks, ros_node)
    start = float(robot.controller.position[0])
    play(robot, chunks, ros_node, 2, start=start, horizon=100)
    wait_until(lambda: robot.controller.position[0] > 0.3, what="it moves on")
    status = operator.wait_for_status(lambda s: s.chunk_id == 2, "chunk 2")
    assert status.state == ControlStatus.STATE_RUNNING
    assert operator.trigger("stop").success
    status = operator.wait_for_status(lambda s: s.state == ControlStatus.STATE_HOLDING, "a hold")
    at_rest = robot.controller.position[0]
    assert at_rest < start + 0.5 * 4.0  # the second chunk would end at 0.5 rad/s * 5 s
    assert not robot.rejections
    # One for each chunk and one for the stop, and one more for each that was late.
    assert 3 <= len(robot.received) == status.trajectories <= 3 + robot.forecaster.late
    assert status.forecast_time.p50_s < 1.0
    for message in robot.received:
        require_trajectory(robot, message)
    assert moving_until_s(robot.received[-1]) < 0.02 + 0.01 + 0.4


def test_a_dead_control_node_leaves_the_robot_at_rest_by_itself(
    activate_node: MakeNode, chunks: Publisher, ros_node: Node
) -> None:
    """The end of the trajectory is a rest; nothing more has to come for it."""
    robot = moving(activate_node, chunks, ros_node)
    robot.node._activation.loop.end()  # nothing is commanded from here on
    sent, died = len(robot.received), len(robot.path)
    wait_until(robot.rests, what="the end")
    assert len(robot.received) == sent
    times_s = np.array([time_s for time_s, _ in robot.path[died:]])
    positions = np.stack([position for _, position in robot.path[died:]])
    speeds = np.abs(np.diff(positions, axis=0)) / np.diff(times_s)[:, None]
    points = [point for trajectory in robot.received for point in points_of(trajectory)]
    planned = max(np.abs(point.velocity).max() for point in points)
    assert speeds.max() < planned + 0.05  # 0.5 rad/s, unless it has to catch up


def test_deactivation_ends_when_the_controller_has_braked(
    activate_node: MakeNode, chunks: Publisher, operator: Operator, ros_node: Node
) -> None:
    robot = moving(activate_node, chunks, ros_node, past=0.2, speed=1.0)
    assert operator.change_state(DEACTIVATE) == [True]
    ended_s = now_ns(ros_node) * 1e-9
    last = robot.received[-1]
    assert end_s(last) < ended_s + 0.05
    require_trajectory(robot, last)
    assert points_of(last)[-1].position[0] < 4.0  # the chunk ends at 4.95


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("ending", ["stop", "deactivation"])
def test_a_way_to_rest_that_is_lost_is_sent_again_from_where_the_robot_is(
    activate_node: MakeNode,
    chunks: Publisher,
    operator: Operator,
    ros_node: Node,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    lost: int,
) -> None:
    monkeypatch.setattr(activation, "DOUBT_S", 60.0)  # on a busy machine measurements are late
    robot = moving(activate_node, chunks, ros_node)
    chunk, first_taken, robot.lost = robot.received[-1], len(robot.received) + lost, lost
    if ending == "stop":
        assert operator.trigger("stop").success
    else:
        assert operator.change_state(DEACTIVATE) == [True]
        assert robot.lost == 0
    wait_until(lambda: not robot.lost and robot.rests(), what="rest")
    assert robot.controller.position[0] < 2.0  # the chunk ends at 2.475
    taken = robot.received[first_taken]
    way_on = points_of(taken)[0].position - position_at(chunk, start_s(taken))
    assert np.abs(way_on).max() < 0.01  # the robot is still on the path of the chunk


def test_a_deactivation_whose_braking_is_forecast_late_waits_for_it(
    activate_node: MakeNode,
    chunks: Publisher,
    operator: Operator,
    ros_node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The forecast is ready when the robot would rest already: it has gone on by the chunk."""
    robot = moving(activate_node, chunks, ros_node)
    run, slow_runs = Forecast.run, iter([True])

    def slow(forecast: Forecast) -> object:
        trajectory, begun_ns = run(forecast), now_ns(ros_node)
        if next(slow_runs, False):
            wait_until(lambda: now_ns(ros_node) - begun_ns > 2 * 10**8, what="0.2 s")
        return trajectory

    monkeypatch.setattr(Forecast, "run", slow)
    assert operator.change_state(DEACTIVATE) == [True]
    assert next(slow_runs, None) is None
    wait_until(robot.rests, what="rest")
    assert robot.controller.position[0] < 2.0  # the chunk ends at 2.475


def test_a_motion_that_fails_is_braked_by_a_trajectory(
    activate_node: MakeNode,
    chunks: Publisher,
    operator: Operator,
    ros_node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = moving(activate_node, chunks, ros_node)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(MotionPlayer, "tick", broken)
    operator.wait_for_reason("out of order")
    wait_until(lambda: len(robot.received) >= 2, what="a trajectory that brakes")
    positions = np.stack([point.position for point in points_of(robot.received[-1])])
    for joint in range(3):
        require_within(positions[:, joint], period_s=PERIOD_S, **{**LIMITS, "jerk": np.inf})
    wait_until(robot.rests, what="rest")
    assert robot.controller.position[0] < 2.0  # the chunk ends at 2.475


def test_a_stop_departs_at_once_and_does_not_wait_for_the_lead(
    activate_node: MakeNode, chunks: Publisher, operator: Operator, ros_node: Node
) -> None:
    """Its path would begin 0.8 s after it was sent, if it waited for the lead."""
    robot = moving(activate_node, chunks, ros_node, past=0.05, trajectory_lead_s=0.8)
    assert operator.trigger("stop").success
    wait_until(lambda: len(robot.received) >= 2, what="a trajectory that brakes")
    last = robot.received[-1]
    require_trajectory(robot, last)
    assert start_s(last) < now_ns(ros_node) * 1e-9 + 0.4
    wait_until(robot.rests, what="rest")
    assert not robot.rejections


def test_a_person_steers_a_robot_that_takes_whole_trajectories(
    activate_node: MakeNode, chunks: Publisher, operator: Operator, ros_node: Node
) -> None:
    topics = {f"action__{key}__teleop_topic": "leader" for key in ("arm", "gripper")}
    robot = running(activate_node, ros_node, teleop_timeout_s=2.0, **topics)
    leader = ros_node.create_publisher(JointTrajectory, "leader", 10)
    wait_until(leader.get_subscription_count, what="the node listens to the leader")
    play(robot, chunks, ros_node, 1, start=0.0)
    wait_until(lambda: robot.controller.position[0] > 0.1, what="the policy drives")
    response = operator.call("intervene", SetBool, SetBool.Request(data=True))
    assert response.success, response.message
    target, of_the_chunk = float(robot.controller.position[0]), len(robot.received)

    def drive() -> None:
        nonlocal target
        target = max(target - 0.004, 0.0)
        point = JointTrajectoryPoint(positions=[target] * 3)
        leader.publish(JointTrajectory(joint_names=NAMES, points=[point]))

    timer = ros_node.create_timer(0.02, drive)
    wait_until(lambda: robot.controller.position[0] < 0.01, what="it follows the leader back")
    timer.cancel()
    assert operator.call("intervene", SetBool, SetBool.Request(data=False)).success
    operator.wait_for_status(lambda s: s.at_rest and not s.intervention, "rest")
    assert len(robot.received) > 5
    assert not robot.rejections
    for message in robot.received:
        require_trajectory(robot, message)
    # It goes beyond the leader by no more than it needs to brake: after a trajectory that a busy
    # machine has finished late, it hurries after the leader.
    steered = [point for one in robot.received[of_the_chunk:] for point in points_of(one)]
    fastest = max(np.abs(point.velocity).max() for point in steered)
    positions = np.stack([position for _, position in robot.path])
    assert positions[:, 0].min() > -braking_way(fastest)
    assert operator.statuses[-1].state != ControlStatus.STATE_ERROR


def test_a_trajectory_that_is_late_is_not_sent_and_its_chunk_is_refused(
    activate_node: MakeNode,
    chunks: Publisher,
    operator: Operator,
    ros_node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = running(activate_node, ros_node, trajectory_lead_s=0.02)
    make_forecasts_slow(monkeypatch, ros_node, 0.7)  # longer than any lead
    climb = 0.025 * np.arange(20)[:, None]
    values = {"arm": np.hstack([climb, climb]), "gripper": climb}
    chunks.publish(chunk_of(values, t0_ns=now_ns(ros_node), dt_s=0.05, chunk_id=1))
    status = operator.wait_for_status(lambda s: s.trajectories_late >= 2, "late trajectories")
    operator.wait_for_reason("trajectory_lead_s 0.02 is too short")
    assert status.state != ControlStatus.STATE_ERROR
    for message in robot.received:  # to stay where it is
        assert not np.ptp([point.positions for point in message.points], axis=0).any()
    assert not robot.controller.position.any()


def test_a_machine_that_takes_longer_than_the_lead_plans_further_ahead_and_stops_at_once(
    activate_node: MakeNode,
    chunks: Publisher,
    operator: Operator,
    ros_node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = running(activate_node, ros_node)
    make_forecasts_slow(monkeypatch, ros_node, 0.2)
    play_until_it_moves(robot, chunks, ros_node)
    status = operator.wait_for_status(lambda s: s.trajectory_lead_s > 0.2, "a longer lead")
    assert status.trajectory_lead_s <= 0.5
    assert operator.trigger("stop").success
    operator.wait_for_status(lambda s: s.at_rest and s.joints[0].command != 0.0, "rest")
    wait_until(robot.rests, what="its controller rests")
    assert not robot.rejections
    motion = robot.node._motion
    assert "stop" in motion.reason


PLANE_ARM = "".join(
    f'<link name="{name}_link"/><joint name="{name}" type="revolute"><parent link="{before}"/>'
    f'<child link="{name}_link"/><origin xyz="0.3 0 0"/><axis xyz="0 0 1"/>'
    '<limit lower="-3" upper="3" velocity="9" effort="1"/></joint>'
    for before, name in zip(["base", *(f"{name}_link" for name in NAMES[:2])], NAMES, strict=True)
)


def test_the_tip_of_whole_trajectories_stays_inside_its_workspace(
    activate_node: MakeNode, chunks: Publisher, operator: Operator, ros_node: Node
) -> None:
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = ros_node.create_publisher(String, "robot_description", latched)
    description.publish(
        String(
            data=f'<robot name="arm"><link name="base"/>{PLANE_ARM}<link name="tip"/>'
            '<joint name="flange" type="fixed"><parent link="finger_link"/><child link="tip"/>'
            '<origin xyz="0.2 0 0"/></joint></robot>'
        )
    )
    robot = running(
        activate_node,
        ros_node,
        robot_description_topic="robot_description",
        workspace__hand__base="base",
        workspace__hand__tip="tip",
        workspace__hand__box_max=[9.0, 0.2, 9.0],
    )
    operator.wait_for_reason("no chunk received yet")
    play(robot, chunks, ros_node, 1, start=0.0)
    status = operator.wait_for_reason("would cross y_max (0.200 m)")
    assert status.state == ControlStatus.STATE_HOLDING
    wait_until(robot.rests, what="rest")
    for message in robot.received:
        require_trajectory(robot, message)
    heights = [
        0.3 * np.sin(angles[0]) + 0.3 * np.sin(angles[1]) + 0.2 * np.sin(angles[2])
        for _, position in robot.path
        for angles in [np.cumsum(position)]
    ]
    assert 0.19 < max(heights) <= 0.2
