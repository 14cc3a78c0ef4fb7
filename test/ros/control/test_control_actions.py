# SPDX-License-Identifier: Apache-2.0
"""Grippers and trajectories as goals of real action servers over DDS."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from action_msgs.srv import CancelGoal
from action_servers import Server
from helpers import require_within, wait_until
from motion_rig import LIMITS, PERIOD_S, Rig
from nodes_for_tests import ACTIVATE, DEACTIVATE, Operator, chunk_of
from rclpy.context import Context
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.interfaces.message_types.gripper_command import GripperCommand as GripperInterface
from gr00t_ros.interfaces.optional_types import optional_type
from gr00t_ros.msg import ControlStatus

actions = pytest.importorskip("control_msgs.action")
GRIPPER = {
    "action__gripper__type": "gripper_command",
    "action__gripper__topic": "gripper/gripper_cmd",
    "action__gripper__max_effort": 12.0,
    "action__gripper__max_following_error": 0.0,
}
DT_S = 0.05
DEADBAND = 0.001  # rad, the default: no goal is sent for less

Serve = Callable[..., Server]


@pytest.fixture
def serve(ros_context: Context) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(action_type: Any, name: str = "gripper/gripper_cmd", **options: Any) -> Server:
        servers.append(Server(ros_context, action_type, name, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def grip(rig: Rig, *positions: float, number: int = 1) -> None:
    """Play a chunk in which the arm rests and the gripper goes to positions, 0.5 s each."""
    gripper = np.repeat(np.array(positions), 10)[:, None]
    arm = np.zeros((len(gripper), 2))
    t0_ns = rig.now_ns()
    rig.chunks.publish(
        chunk_of({"arm": arm, "gripper": gripper}, t0_ns=t0_ns, dt_s=DT_S, chunk_id=number)
    )


def goal_text(operator: Operator, text: str) -> ControlStatus:
    return operator.wait_for_status(
        lambda s: any(text in topic.goal for topic in s.command_topics), text
    )


def test_a_gripper_gets_a_goal_when_its_target_changes_and_never_one_a_tick(
    rig: Rig, serve: Serve
) -> None:
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER, action__gripper__deadband=0.05)
    rig.follow(0.0, 0.0, 0.0)
    grip(rig, 0.0, 0.4, 0.41)
    wait_until(lambda: any(g.command.position > 0.35 for g in server.goals), what="it closes")
    rig.operator.wait_for_reason("chunk 1 ended")
    positions = [goal.command.position for goal in server.goals]
    assert positions[0] == 0.0
    assert 2 <= len(positions) <= 4  # the way from 0 to 0.4 takes one step of 0.05 s
    assert all(abs(b - a) > 0.05 for a, b in itertools.pairwise(positions))
    assert {goal.command.max_effort for goal in server.goals} == {12.0}
    ticks = rig.operator.statuses[-1].commands
    assert ticks > 20 * len(positions)


def test_result_and_stall_are_in_the_status(rig: Rig, serve: Serve) -> None:
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER)
    grip(rig, 0.3)
    rig.operator.wait_for_reason("chunk 1 ended")
    goal_text(rig.operator, "in progress")
    server.finish(len(server.goals) - 1, "succeed", position=0.123, stalled=True)
    status = goal_text(rig.operator, "stalled at 0.123")
    [gripper] = [t for t in status.command_topics if t.topic == "/gripper/gripper_cmd"]
    assert (gripper.subscription_count, gripper.goals_sent) == (1, len(server.goals))


@pytest.mark.parametrize("preempts", [True, False])
def test_a_newer_goal_replaces_the_one_in_progress(rig: Rig, serve: Serve, preempts: bool) -> None:
    """Also on a server that would carry out both: the older one is canceled."""
    server = serve(actions.GripperCommand, preempts=preempts)
    rig.start(**GRIPPER)
    grip(rig, 0.3)
    wait_until(lambda: server.goals, what="a goal")
    rig.operator.wait_for_reason("chunk 1 ended")
    first = len(server.goals)
    grip(rig, 0.1, number=2)
    wait_until(lambda: len(server.goals) > first, what="another goal")
    ended = server.aborted if preempts else server.canceled
    wait_until(lambda: first - 1 in ended, what="the first goal is over")
    assert len(server.goals) - 1 not in [*server.aborted, *server.canceled]


def test_deactivation_cancels_the_goal_in_progress(rig: Rig, serve: Serve) -> None:
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER)
    grip(rig, 0.3)
    wait_until(lambda: server.goals, what="a goal")
    rig.operator.wait_for_reason("chunk 1 ended")
    assert rig.operator.change_state(DEACTIVATE) == [True]
    assert server.canceled[-1] == len(server.goals) - 1
    assert rig.operator.change_state(ACTIVATE) == [True]
    before = len(server.goals)
    grip(rig, 0.3, number=2)
    wait_until(lambda: len(server.goals) > before, what="a goal after the next activation")


def test_a_dead_action_server_is_named_and_nothing_moves(rig: Rig, serve: Serve) -> None:
    rig.start(**GRIPPER)
    rig.play()
    rig.operator.wait_for_reason("no action server at /gripper/gripper_cmd")
    assert not rig.received
    server = serve(actions.GripperCommand)
    rig.operator.wait_for_status(lambda s: s.command_topics[1].subscription_count, "the server")
    rig.play()
    rig.wait_for_commands(10)
    server.close()
    rig.operator.wait_for_reason("no action server at /gripper/gripper_cmd")


def test_a_gripper_that_was_restarted_is_told_its_target_again(rig: Rig, serve: Serve) -> None:
    """Its driver may have opened it; the target has not changed, and yet it must be sent."""
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER)
    grip(rig, 0.3)

    def is_told() -> bool:
        return server.goals[-1:] != [] and abs(server.goals[-1].command.position - 0.3) < 0.002

    wait_until(is_told, what="the goal of the chunk's end")
    rig.operator.wait_for_reason("chunk 1 ended")
    last = server.goals[-1].command.position
    server.close()
    rig.operator.wait_for_reason("no action server at /gripper/gripper_cmd")
    again = serve(actions.GripperCommand)
    wait_until(lambda: again.goals, what="the goal again")
    assert [goal.command.position for goal in again.goals] == [pytest.approx(last, abs=0.002)]


def test_a_gripper_is_told_its_target_again_after_a_shadow(rig: Rig, serve: Serve) -> None:
    """Somebody else has moved it meanwhile; the target has not changed, and yet it must be sent."""
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER)
    grip(rig, 0.3)
    rig.operator.wait_for_reason("chunk 1 ended")
    rig.joints = [0.0, 0.0, 0.3]
    assert rig.operator.trigger("go_shadow").success
    rig.operator.wait_for_status(lambda s: s.shadow, "a shadow")
    told = len(server.goals)
    assert rig.operator.trigger("go_live").success
    grip(rig, 0.3, number=2)
    wait_until(lambda: len(server.goals) > told, what="the goal again")
    assert server.goals[-1].command.position == pytest.approx(0.3, abs=0.002)


def test_a_grip_that_is_given_up_is_not_repeated(rig: Rig, serve: Serve) -> None:
    """A gripper_action_controller aborts a goal in which it stalls; it would squeeze for ever."""
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER)
    grip(rig, 0.3)
    rig.operator.wait_for_reason("chunk 1 ended")
    wait_until(
        lambda: server.goals and abs(server.goals[-1].command.position - 0.3) <= DEADBAND,
        what="the goal of the whole grip",
    )
    count = len(server.goals)
    server.finish(count - 1, "abort", position=0.123, stalled=True)
    status = goal_text(rig.operator, "aborted: stalled at 0.123")
    rig.operator.wait_for_status(lambda s: s.commands > status.commands + 150, "1.5 s later")
    assert len(server.goals) == count


def test_a_goal_that_nobody_answers_is_sent_again(rig: Rig, serve: Serve) -> None:
    """The server was killed and started again while the goal was on its way to it."""
    server = serve(actions.GripperCommand)
    rig.start(**GRIPPER)
    [client] = rig.node._output._clients
    send = client._client.send_goal_async
    client._client.send_goal_async = lambda _: Future()
    grip(rig, 0.3)
    rig.operator.wait_for_reason("the action server at /gripper/gripper_cmd does not answer")
    assert not server.goals
    client._client.send_goal_async = send
    wait_until(lambda: server.goals, what="the goal again")
    rig.operator.wait_for_reason("holding: no chunk came after a stop")


def test_a_rejected_goal_is_named_and_sent_again(rig: Rig, serve: Serve) -> None:
    server = serve(actions.GripperCommand)
    server.accepts = False
    rig.start(**GRIPPER)
    grip(rig, 0.3)
    goal_text(rig.operator, "rejected by /gripper/gripper_cmd")
    server.accepts = True
    wait_until(lambda: server.goals, what="the goal again")


def test_a_parallel_gripper_names_its_joint(rig: Rig, serve: Serve) -> None:
    server = serve(actions.ParallelGripperCommand)
    changes = {**GRIPPER, "action__gripper__type": "parallel_gripper_command"}
    rig.start(**changes, action__gripper__goal_velocity=0.2)
    grip(rig, 0.3)
    wait_until(lambda: server.goals, what="a goal")
    command = server.goals[-1].command
    assert list(command.name) == ["finger"]
    assert list(command.velocity) == [0.2]
    assert list(command.effort) == [12.0]
    rig.operator.wait_for_reason("chunk 1 ended")

    def is_told() -> bool:
        return abs(server.goals[-1].command.position[0] - 0.3) < 0.002

    wait_until(is_told, what="the goal of the chunk's end")


def test_a_gripper_has_one_joint() -> None:
    with pytest.raises(ValueError, match=r"a gripper has one joint, got \['a', 'b'\]"):
        GripperInterface({"joints": ["a", "b"]})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = optional_type("no_such_msgs", "action", "GripperCommand")
    monkeypatch.setattr(GripperInterface, "message_type", missing)
    with pytest.raises(ValueError, match=r"no_such_msgs with GripperCommand is not installed: .*"):
        GripperInterface({})


TRAJECTORY = {
    f"action__{key}__{field}": value
    for key in ("arm", "gripper")
    for field, value in (("type", "follow_joint_trajectory"), ("topic", "jtc/follow"))
}

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
        rig.joints = [0.15, -0.15, finger]

    rig.peer.create_timer(0.01, follow)
    rig.play_until(
        lambda: len(rig._commanded) > 20 and np.ptp(rig._commanded[-10:]) > 0.03 and server.goals,
        "the gripper moves",
        horizon=40,
    )
    status, aborted = give_up(rig, server)
    rig.operator.wait_for_status(lambda s: s.at_rest and s.commands > status.commands, "rest")
    gripper = rig.gripper()
    assert not np.ptp(gripper[-5:])
    require_within(gripper, period_s=PERIOD_S, **LIMITS)
    assert len(server.goals) == aborted  # nothing pulls the arm back
    held, since = gripper[-1], len(gripper)
    assert rig.operator.trigger("start").success
    rig.play_until(lambda: len(server.goals) > aborted, "it goes on", start=held, horizon=40)
    first = server.goals[aborted].trajectory.points[0]
    assert np.allclose(first.positions, [0.15, -0.15], atol=0.006)
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
    rig.play_until(lambda: server.goals and len(rig._commanded) > 20, "it moves", horizon=40)
    rig.joints = [0.15, -0.15, 0.0]
    server.close()
    status = rig.operator.wait_for_reason("no action server at /jtc/follow")
    rig.operator.wait_for_status(lambda s: s.at_rest and s.commands > status.commands, "rest")
    again = serve(actions.FollowJointTrajectory, "jtc/follow")
    rig.play_until(lambda: again.goals, "it goes on", horizon=40)
    first = again.goals[0].trajectory.points[0]
    assert np.allclose(first.positions, [0.15, -0.15], atol=0.006)


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
    assert rig.operator.change_state(DEACTIVATE) == [True]
    assert server.canceled[-1] == len(server.goals) - 1
    assert rig.operator.change_state(ACTIVATE) == [True]


def test_braking_that_is_cut_short_ends_with_a_trajectory_that_is_not_canceled(
    rig: Rig, serve: Serve
) -> None:
    """A controller whose goal is canceled stops the arm at once, by no limit at all."""
    server = serve(actions.FollowJointTrajectory, "jtc/follow")
    slow = {f"action__{key}__max_acceleration": 0.2 for key in ("arm", "gripper")}
    rig.start(**TRAJECTORY, **slow)  # so that braking takes a while
    rig.play_until(lambda: server.goals, "a goal", horizon=60)

    def moves() -> bool:
        command = rig.node._motion.command
        return command is not None and command.values["gripper"][0] > 0.3

    wait_until(moves, what="it moves")
    for _ in range(2):
        rig.node._stop_request.handle()
        rig.node._stop_request._came_s -= 1.0
    assert rig.operator.change_state(DEACTIVATE) == [True]
    [client] = rig.node._output._clients
    wait_until(lambda: len(server.goals) == client.goals_sent, what="the last goal")
    last = client.goals_sent - 1
    points = server.goals[last].trajectory.points
    assert max(map(abs, points[1].velocities)) > 0.01  # it brakes still
    assert not any(points[-1].velocities)
    assert last not in server.canceled


def test_a_binary_gripper_gets_two_goals_and_no_others(rig: Rig, serve: Serve) -> None:
    server = serve(actions.GripperCommand)
    binary = {
        "binary": True,
        "threshold": 0.5,
        "hysteresis": 0.25,
        "open_position": 0.0,
        "closed_position": 0.4,
    }
    rig.start(**GRIPPER, **{f"action__gripper__{name}": value for name, value in binary.items()})
    grip(rig, 0.0, 0.4, 0.18, 0.22)  # the last two are within the hysteresis
    rig.operator.wait_for_reason("chunk 1 ended")
    assert [goal.command.position for goal in server.goals] == [0.0, 0.4]
