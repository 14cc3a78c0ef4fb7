# SPDX-License-Identifier: Apache-2.0
"""Grippers as goals of real action servers over DDS."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from action_servers import Serve
from helpers import wait_until
from motion_rig import Rig
from nodes_for_tests import ACTIVATE, DEACTIVATE, Operator, chunk_of
from rclpy.task import Future

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
