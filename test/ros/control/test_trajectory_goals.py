# SPDX-License-Identifier: Apache-2.0
"""Trajectories as goals of real action servers over DDS, and controllers that give them up."""

from __future__ import annotations

import numpy as np
import pytest
from action_msgs.srv import CancelGoal
from action_servers import TRAJECTORY, Serve, Server
from helpers import require_within, wait_until
from motion_rig import LIMITS, PERIOD_S, Rig
from nodes_for_tests import ACTIVATE, DEACTIVATE
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core.control.trajectory import Forecast, Trajectory
from gr00t_ros.control import activation
from gr00t_ros.control.control_loop import ControlLoop
from gr00t_ros.msg import ControlStatus

actions = pytest.importorskip("control_msgs.action")
ARM = {name: value for name, value in TRAJECTORY.items() if "arm" in name}


def give_up(rig: Rig, server: Server) -> tuple[ControlStatus, int]:
    """Abort the goal in progress; one that is on its way is canceled.

    Returns:
        The status when the node has heard of it, and the number of goals.
    """
    server.give_up(error_code=-4, error_string="shoulder is 0.3 rad off")
    status = rig.operator.wait_for_reason("aborted: error -4 shoulder is 0.3 rad off")
    wait_until(lambda: server.is_idle, what="no goal is carried out")
    return status, len(server.goals)


def position_at(way: JointTrajectory, now_ns: int) -> float:
    """Where the first joint of a trajectory is at an instant, ns."""
    stamp_ns = way.header.stamp.sec * 10**9 + way.header.stamp.nanosec
    index = round((now_ns - stamp_ns) / (PERIOD_S * 1e9))
    return float(way.points[min(max(index, 0), len(way.points) - 1)].positions[0])


def test_a_trajectory_is_a_goal_and_one_that_is_given_up_stops_the_robot(
    rig: Rig, serve: Serve
) -> None:
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.start(**TRAJECTORY)
    rig.play_until(lambda: server.goals, "a goal", horizon=40)
    assert list(server.goals[0].trajectory.joint_names) == ["shoulder", "elbow", "finger"]
    assert len(server.goals[0].trajectory.points) > 100
    rig.operator.wait_for_status(lambda s: s.commands > 0, "the path has begun")
    status, aborted = give_up(rig, server)
    assert "~/start" in status.reason
    rig.operator.wait_for_status(lambda s: s.at_rest and s.commands > status.commands, "rest")
    assert len(server.goals) == aborted  # the controller has stopped the arm: nothing pulls it back
    assert rig.operator.trigger("start").success
    rig.play_until(
        lambda: rig.operator.statuses[-1].state == ControlStatus.STATE_RUNNING,
        "it goes on",
        horizon=40,
    )
    first = server.goals[-1].trajectory.points[0]
    assert np.allclose(first.positions, rig.joints, atol=0.021)


def test_what_is_streamed_beside_a_trajectory_that_is_given_up_comes_to_rest_within_its_limits(
    rig: Rig, serve: Serve
) -> None:
    """Left alone, a base would keep its last velocity, and another arm stop in one tick.

    The arm goes on from where its controller holds it, the gripper from where it was told to be.
    """
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.start(**ARM, action__arm__max_following_error=0.5)

    def follow() -> None:
        finger = float(rig._commanded[-1][0]) if rig._commanded else 0.0
        rig.joints = [0.15, 0.12, finger]

    rig.peer.create_timer(0.01, follow)
    rig.play_until(
        lambda: len(rig._commanded) > 20 and np.ptp(rig._commanded[-10:]) > 0.03 and server.goals,
        "the gripper moves",
        speed=0.35,  # to 0.61 rad, no more than 0.5 rad away from where the arm stands
        horizon=36,
    )
    status, aborted = give_up(rig, server)
    rig.operator.wait_for_status(lambda s: s.at_rest and s.commands > status.commands, "rest")
    gripper = rig.gripper()
    assert not np.ptp(gripper[-5:])
    # A machine that is late with the trajectory has all brake at once, without regard to jerk.
    jerk = np.inf if rig.node._activation.forecaster.late else LIMITS["jerk"]
    require_within(gripper, period_s=PERIOD_S, **{**LIMITS, "jerk": jerk})
    assert len(server.goals) == aborted  # nothing pulls the arm back
    held, since = gripper[-1], len(gripper)
    assert rig.operator.trigger("start").success
    rig.play_until(lambda: len(server.goals) > aborted, "it goes on", start=held, horizon=40)
    first = server.goals[aborted].trajectory.points[0]
    assert np.allclose(first.positions, [0.15, 0.12], atol=0.006)
    assert np.abs(np.diff(rig.gripper()[since - 1 :])).max() < 0.02


def test_two_arms_go_on_from_where_they_are_after_one_is_given_up(rig: Rig, serve: Serve) -> None:
    one = serve(actions.FollowJointTrajectory, "jtc/follow")
    other = serve(actions.FollowJointTrajectory, "other/follow")
    rig.start(**{**TRAJECTORY, "action__gripper__topic": "other/follow"})

    def follow() -> None:
        """The other arm does what it is told."""
        way = other.goals[-1].trajectory if other.goals else None
        finger = position_at(way, rig.now_ns()) if way else 0.0
        rig.joints = [0.15, -0.15, finger]

    rig.peer.create_timer(0.01, follow)
    rig.play_until(lambda: one.goals and other.goals, "goals", horizon=40)
    rig.operator.wait_for_status(lambda s: s.commands > 0, "the path has begun")
    status, aborted = give_up(rig, one)
    rig.operator.wait_for_status(lambda s: s.at_rest and s.commands > status.commands, "rest")
    assert len(one.goals) == aborted
    told, rests_at = len(other.goals), other.goals[-1].trajectory.points[-1].positions[0]
    assert rig.operator.trigger("start").success
    rig.play_until(lambda: len(one.goals) > aborted, "it goes on", horizon=40)
    first = one.goals[aborted].trajectory.points[0]
    assert np.allclose(first.positions, [0.15, -0.15], atol=0.006)
    wait_until(lambda: len(other.goals) > told, what="the other arm goes on")
    [finger] = other.goals[told].trajectory.points[0].positions
    assert finger == pytest.approx(rests_at, abs=0.006)


def test_an_arm_whose_controller_is_restarted_beside_a_stream_goes_on_from_where_it_is(
    rig: Rig, serve: Serve
) -> None:
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.start(**ARM, action__arm__max_following_error=0.5)
    # Its arm does not follow, and the chunk goes to no more than 0.5 rad away from it.
    rig.play_until(
        lambda: server.goals and len(rig._commanded) > 20, "it moves", speed=0.2, horizon=40
    )
    rig.joints = [0.15, 0.12, 0.0]
    server.close()
    status = rig.operator.wait_for_reason("no action server at /jtc/follow")
    rig.operator.wait_for_status(lambda s: s.at_rest and s.commands > status.commands, "rest")
    again = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.play_until(lambda: again.goals, "it goes on", horizon=40)
    first = again.goals[0].trajectory.points[0]
    assert np.allclose(first.positions, [0.15, 0.12], atol=0.006)


def test_a_trajectory_that_somebody_else_cancels_stops_the_robot(rig: Rig, serve: Serve) -> None:
    """As a joint_trajectory_controller does that is deactivated, or the button of a tool."""
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.start(**TRAJECTORY)
    rig.play_until(lambda: server.goals, "a goal", horizon=40)
    cancel = rig.peer.create_client(CancelGoal, "jtc/follow/_action/cancel_goal")
    wait_until(cancel.service_is_ready, what="the service")
    cancel.call_async(CancelGoal.Request())  # all goals
    status = rig.operator.wait_for_reason("a trajectory was not carried out: canceled")
    assert "~/start" in status.reason


def test_a_trajectory_that_nobody_answers_stops_the_robot_until_start(
    rig: Rig, serve: Serve
) -> None:
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.start(**TRAJECTORY)
    [client] = rig.node._output._clients
    lost = iter([Future()])
    send = client._client.send_goal_async
    client._client.send_goal_async = lambda goal: next(lost, None) or send(goal)
    rig.play(horizon=10)
    rig.operator.wait_for_reason("a trajectory was not carried out: not answered by /jtc/follow")
    assert rig.operator.trigger("start").success
    rig.play_until(lambda: server.goals, "a goal", horizon=40)


def test_an_active_trajectory_is_canceled_by_deactivation(rig: Rig, serve: Serve) -> None:
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.start(**TRAJECTORY)
    rig.play_until(lambda: server.goals, "a goal", horizon=40)
    motion = rig.node._motion
    wait_until(lambda: motion.command and not motion.is_at_rest, what="the path has begun")
    assert rig.operator.change_state(DEACTIVATE) == [True]
    wait_until(lambda: len(server.goals) - 1 in server.canceled, what="the last one is canceled")
    assert rig.operator.change_state(ACTIVATE) == [True]


def test_a_node_that_is_deactivated_before_its_robot_departs_brings_it_to_rest_first(
    rig: Rig, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not take the robot for at rest, and end, while the trajectory still moves it.

    As on a busy machine the way to rest is late, and the loop goes on for a while after its end.
    """
    run, end_loop, late_ns = Forecast.run, ControlLoop.end, []

    def end_late(loop: ControlLoop) -> None:
        wait_until(lambda: late_ns and rig.now_ns() > late_ns[0] + 30_000_000)
        end_loop(loop)

    def run_late(forecast: Forecast) -> Trajectory | None:
        """The first way to rest is ready when the robot has long departed on the other one."""
        if forecast.is_stop and not late_ns:
            late_ns.append(forecast.departure_ns + 1_200_000_000)
            wait_until(lambda: rig.now_ns() > late_ns[0], what="the robot has departed")
        return run(forecast)

    monkeypatch.setattr(Forecast, "run", run_late)
    monkeypatch.setattr(ControlLoop, "end", end_late)
    monkeypatch.setattr(activation, "BRAKING_SLACK_S", 30.0)  # the test's machine may be busy, too
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    slow = {f"action__{key}__max_acceleration": 1.0 for key in ("arm", "gripper")}
    rig.start(**TRAJECTORY, **slow, trajectory_lead_s=1.0)
    rig.play_until(lambda: server.goals, "a goal", horizon=60)
    assert rig.operator.change_state(DEACTIVATE) == [True]
    wait_until(lambda: len(server.goals) - 1 in server.canceled, what="the last one is canceled")
    last = [point.positions for point in server.goals[-1].trajectory.points]
    assert not np.ptp(last[-10:], axis=0).any()
    assert rig.operator.change_state(ACTIVATE) == [True]


def test_braking_that_is_cut_short_ends_with_a_trajectory_that_is_not_canceled(
    rig: Rig, serve: Serve
) -> None:
    """A controller whose goal is canceled stops the arm at once, by no limit at all."""
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    slow = {f"action__{key}__max_acceleration": 0.2 for key in ("arm", "gripper")}
    rig.start(**TRAJECTORY, **slow)  # so that braking takes a while
    rig.play_until(lambda: server.goals, "a goal", horizon=60)
    wait_until(rig.is_moving, what="it moves")
    rig.cut_braking_short()
    assert rig.operator.change_state(DEACTIVATE) == [True]
    [client] = rig.node._output._clients
    wait_until(lambda: len(server.goals) == client.goals_sent, what="the last goal")
    last = client.goals_sent - 1
    points = server.goals[last].trajectory.points
    assert max(map(abs, points[1].velocities)) > 0.01  # it brakes still
    assert not any(points[-1].velocities)
    assert last not in server.canceled
