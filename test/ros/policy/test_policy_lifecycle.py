# SPDX-License-Identifier: Apache-2.0
"""The life of the policy node over real DDS: its services, transitions and status."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    Drive,
    MakeNode,
    Operator,
    Robot,
    quiet_for,
    robot_and_chunks,
)
from numpy.testing import assert_allclose
from policies_for_tests import HORIZON, EchoPolicy
from rclpy.node import Node
from std_srvs.srv import Trigger

from gr00t_policy_core.errors import PolicyTimeoutError
from gr00t_ros.msg import ActionChunk, PolicyStatus


def entities(node: Node) -> tuple[int, int, int, int]:
    return (
        len(list(node.subscriptions)),
        len(list(node.publishers)),
        len(list(node.timers)),
        len(list(node.services)),
    )


def test_start_brings_the_node_up_and_chunks_follow(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node()
    operator.wait_for_status(
        lambda s: s.state == PolicyStatus.STATE_STOPPED and s.reason == "the node is not active",
        "stopped at first",
    )
    robot_and_chunks(ros_node, operator, chunks)
    status = operator.wait_until_running()
    assert status.inferences >= 1
    assert status.observation_age.last_s >= 0.0
    assert 0.0 < status.round_trip.p50_s <= status.round_trip.p99_s
    assert status.policy_time.last_s == status.policy_time.p99_s == pytest.approx(0.001)
    names = ["video.front", "state.arm", "state.gripper"]
    assert [stream.name for stream in status.streams] == names
    assert operator.state() == "active"

    chunk = chunks[0]
    assert (chunk.chunk_id, chunk.horizon, chunk.dt) == (1, HORIZON, pytest.approx(0.05))
    assert [(a.name, a.dimension) for a in chunk.actions] == [("arm", 2), ("gripper", 1)]
    rows = np.array(chunk.actions[0].values).reshape(HORIZON, 2)
    assert_allclose(rows[:, 0], 0.1 + 0.1 / 20.0 * np.arange(HORIZON), rtol=1e-5)


def test_a_shuffled_joint_order_changes_nothing(drive: Drive, policy: EchoPolicy) -> None:
    """The robot of these tests rolls its joints with every message."""
    drive(replan_interval_s=0.03)
    wait_until(lambda: len(policy.observations) >= 8)
    for observation in policy.observations:
        assert_allclose(observation["state"]["arm"], [[[0.1, -0.2]]], rtol=1e-6)
        assert_allclose(observation["state"]["gripper"], [[[0.5]]], rtol=1e-6)


def test_stop_ends_the_chunks_tells_the_control_node_and_start_goes_on(
    drive: Drive, operator: Operator, chunks: list[ActionChunk]
) -> None:
    drive()
    assert operator.trigger("stop").success
    wait_until(lambda: chunks[-1].stop, what="the message that tells to stop")
    quiet_for(chunks, 0.5)
    assert chunks[-1].stop
    operator.wait_for_reason("stopped")
    assert operator.state() == "active"
    count = len(chunks)
    assert operator.trigger("start").success
    wait_until(lambda: len(chunks) > count and not chunks[-1].stop, what="chunks go on")


def test_an_answer_that_comes_after_stop_is_not_published(
    thinking_policy: EchoPolicy, operator: Operator, chunks: list[ActionChunk]
) -> None:
    assert operator.trigger("stop").success  # served while the policy thinks
    thinking_policy.go.set()
    assert operator.trigger("reset").success  # comes after the late answer
    quiet_for(chunks)
    assert [c.chunk_id for c in chunks if not c.stop] == []


def test_a_reset_stops_the_arm_and_nothing_from_before_it_follows(
    drive: Drive,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
) -> None:
    robot = drive()
    policy.go.clear()
    asked = len(policy.observations)
    wait_until(lambda: len(policy.observations) > asked, what="the policy is asked again")
    robot.joints["shoulder"] = 5.0
    client = ros_node.create_client(Trigger, "policy_node/reset")
    wait_until(client.service_is_ready)
    reset = client.call_async(Trigger.Request())
    wait_until(lambda: chunks[-1].stop, what="the message that tells to stop")
    seen = len(chunks)
    operator.wait_for_status(lambda s: True, "a status, by when the new position has come")
    policy.go.set()
    wait_until(reset.done, what="the reset")
    wait_until(lambda: len(chunks) > seen, what="a chunk after the reset")
    assert chunks[seen].actions[0].values[0] == 5.0


def test_the_executor_answers_while_the_policy_thinks(
    thinking_policy: EchoPolicy, operator: Operator, ros_node: Node
) -> None:
    reset_client = ros_node.create_client(Trigger, "policy_node/reset")
    wait_until(reset_client.service_is_ready)
    waiting_reset = reset_client.call_async(Trigger.Request())
    for _ in range(3):
        operator.wait_for_status(lambda s: True, "a status")
    assert operator.state() == "active"
    assert not waiting_reset.done()
    assert len(thinking_policy.observations) == 1
    thinking_policy.go.set()
    wait_until(waiting_reset.done, what="the reset is served")
    assert waiting_reset.result().success


def test_the_services_answer_from_every_state(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy
) -> None:
    make_node()
    refused = operator.trigger("reset")
    assert not refused.success
    assert "not configured" in refused.message
    assert operator.trigger("stop").success

    assert operator.change_state(CONFIGURE) == [True]
    assert operator.trigger("stop").success
    answer = operator.trigger("reset")
    assert (answer.success, answer.message) == (True, "{'resets': 1}")
    assert operator.trigger("start").success
    assert operator.state() == "active"
    assert operator.trigger("reset").success
    assert policy.resets == 2


def test_start_with_wrong_parameters_says_that_it_could_not(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node(video__front__topic="")
    answer = operator.trigger("start")
    assert not answer.success
    assert "could not be configured" in answer.message
    assert operator.state() == "unconfigured"


def test_a_reset_that_fails_says_why(
    make_node: MakeNode,
    operator: Operator,
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(options: Any = None) -> dict[str, Any]:
        raise PolicyTimeoutError("localhost:5555 did not answer within 2 s")

    monkeypatch.setattr(policy, "reset", refuse)
    make_node()
    assert operator.change_state(CONFIGURE) == [True]
    answer = operator.trigger("reset")
    assert (answer.success, answer.message) == (False, "localhost:5555 did not answer within 2 s")


def test_a_whole_life_leaves_nothing_behind_and_can_be_lived_again(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    node = make_node()
    Robot(ros_node)
    before = entities(node)
    for _ in range(2):
        assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
        assert entities(node) != before
        count = len(chunks)
        assert operator.trigger("start").success
        wait_until(lambda c=count: len(chunks) > c, what="a chunk")
        assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
        assert entities(node) == before
        assert operator.state() == "unconfigured"
        quiet_for(chunks, 0.4)


def test_autostart_starts_with_the_activation(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node(autostart=True)
    Robot(ros_node)
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(lambda: chunks, what="a chunk")


@pytest.mark.parametrize("is_configured", [False, True])
def test_a_stop_is_in_force_over_every_transition_until_start(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
    is_configured: bool,
) -> None:
    make_node(autostart=True)
    Robot(ros_node)
    if is_configured:
        assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
        wait_until(lambda: chunks, what="a chunk")
    assert operator.trigger("stop").success
    if is_configured:
        assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
    quiet_for(chunks, 0.4)
    asked = len(policy.observations)
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    status = operator.wait_for_reason("stopped")
    assert status.state == PolicyStatus.STATE_STOPPED
    assert len(policy.observations) == asked
    assert operator.trigger("start").success
    count = len(chunks)
    wait_until(lambda: any(not c.stop for c in chunks[count:]), what="a chunk")


def test_without_autostart_an_active_node_waits_for_start(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy
) -> None:
    make_node()
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    status = operator.wait_for_reason("stopped")
    assert status.state == PolicyStatus.STATE_STOPPED
    assert policy.observations == []
