# SPDX-License-Identifier: Apache-2.0
"""Configured, activated, deactivated, and all over again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_ramps import FollowingArm, MakeNode, activate, now_ns, ramp
from helpers import wait_until
from motion_rig import PERIOD_S, Rig
from nodes_for_tests import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    Operator,
    quiet_for,
)
from rclpy.node import Node
from rclpy.publisher import Publisher

from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.node_parameters import declare_parameters


def test_nothing_is_published_before_a_chunk_nor_while_not_active(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    arm = FollowingArm(ros_node)
    node = make_node()
    wait_until(chunks.get_subscription_count)
    status = operator.wait_for_reason("the node is not active")
    assert status.state == ControlStatus.STATE_STOPPED
    chunks.publish(ramp(now_ns(ros_node)))
    assert operator.change_state(CONFIGURE) == [True]
    chunks.publish(ramp(now_ns(ros_node), horizon=400))
    assert operator.change_state(ACTIVATE) == [True]
    status = operator.wait_for_reason("no chunk received yet")  # what came before is not played
    assert (status.state, status.chunks_accepted) == (ControlStatus.STATE_WAITING, 0)
    assert commands == []

    wait_until(lambda: node._motion.robot.joints._known, what="it knows its joints")
    chunks.publish(ramp(now_ns(ros_node), horizon=400))
    wait_until(lambda: commands, what="commands")
    assert operator.change_state(DEACTIVATE) == [True]
    quiet_for(commands)
    assert list(commands[-1][1].points[0].positions) == arm.joints
    assert operator.change_state(ACTIVATE) == [True]
    operator.wait_for_reason("no chunk received yet")
    count = len(commands)
    quiet_for(commands)
    assert len(commands) == count


def test_a_slow_deactivation_is_no_fault_and_the_arm_goes_on_without_a_start(rig: Rig) -> None:
    """No measurement arrives while the node brakes: the arm is not where it was measured last."""
    rig.start(action__arm__max_acceleration=2.0, action__arm__max_following_error=0.6)
    rig.play(speed=2.0, horizon=400)

    def is_fast() -> bool:
        return len(rig.path()) > 1 and bool(np.diff(rig.path()[-2:, 0])[0] > 1.9 * PERIOD_S)

    wait_until(is_fast, what="it moves")
    told_at = rig.path()[-1, 0]
    assert rig.operator.change_state(DEACTIVATE) == [True]
    rested = rig.path()[-1, 0]
    assert rested > told_at + 0.6, "it was braked for longer than max_following_error"
    assert rig.operator.change_state(ACTIVATE) == [True]
    rig.play(start=rested, speed=0.2, horizon=400)
    rig.operator.wait_until_running()
    wait_until(lambda: rig.path()[-1, 0] > rested + 0.1, what="it goes on")


def test_a_whole_life_leaves_nothing_behind_and_can_be_lived_again(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    FollowingArm(ros_node)
    node = make_node(max_age_s=5.0)  # on a busy machine joint states are late

    def entities() -> tuple[int, int, int]:
        return (
            len(list(node.subscriptions)),
            len(list(node.publishers)),
            len(list(node.timers)),
        )

    before = entities()
    for _ in range(2):
        activate(operator, chunks, node)
        count = len(commands)
        chunks.publish(ramp(now_ns(ros_node)))
        wait_until(lambda c=count: len(commands) > c, what="commands")
        assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
        assert entities() == before
        quiet_for(commands)


def test_configure_fails_with_the_whole_list_and_works_once_all_is_right(
    make_node: MakeNode, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    make_node(control_rate_hz=5000.0, action__gripper__type="servo")
    assert operator.change_state(CONFIGURE) == [False]
    told = capfd.readouterr().err
    assert "- control_rate_hz: must be 1 to 1000, got 5000.0\n" in told
    assert (
        "- action.gripper.type: 'servo' is not a message type; write one of end_effector | "
        "float64_multi_array |" in told
    )
    assert all(
        operator.set_parameters(control_rate_hz=50.0, action__gripper__type="joint_trajectory")
    )
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]


def test_a_start_of_a_node_that_is_not_active_lifts_the_stop_and_says_that_nothing_moves(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> None:
    FollowingArm(ros_node)
    node = make_node()
    assert operator.trigger("stop").success

    started = operator.trigger("start")

    assert not started.success
    assert started.message == "the node is not active; its stop is lifted"
    activate(operator, chunks, node)
    assert operator.trigger("start").success
    operator.wait_for_reason("no chunk received yet")


def test_every_parameter_is_described(make_node: MakeNode, operator: Operator) -> None:
    node = make_node()
    declare_parameters(node)  # once more changes nothing
    names = [n for n in operator.parameter_names() if n.startswith(("action", "control", "state"))]
    assert len(names) > 20
    assert all(described.description for described in operator.describe(names))
