# SPDX-License-Identifier: Apache-2.0
"""A policy node without an instruction, or with a policy in trouble."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import wait_for_log, wait_until
from nodes_for_tests import (
    CLEANUP,
    DEACTIVATE,
    Drive,
    MakeNode,
    Operator,
    Robot,
    robot_and_chunks,
)
from policies_for_tests import EchoPolicy
from rclpy.node import Node
from std_msgs.msg import String

from gr00t_policy_core import ModalityConfig
from gr00t_policy_core.errors import PolicyTimeoutError
from gr00t_ros.msg import ActionChunk, PolicyStatus


def test_the_instruction_is_the_parameter_until_the_topic_says_otherwise(
    drive: Drive, ros_node: Node, policy: EchoPolicy
) -> None:
    drive()
    assert policy.observations[0]["language"] == {"task": [["pick up the apple"]]}
    publisher = ros_node.create_publisher(String, "policy_node/instruction", 1)
    wait_until(publisher.get_subscription_count)
    publisher.publish(String(data="now the pear"))
    wait_until(
        lambda: policy.observations[-1]["language"] == {"task": [["now the pear"]]},
        what="the new instruction",
    )


def test_an_instruction_given_before_the_start_is_the_one_followed(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node()
    publisher = ros_node.create_publisher(String, "policy_node/instruction", 1)
    wait_until(publisher.get_subscription_count)
    publisher.publish(String(data="the pear first"))
    wait_for_log(capfd, "the pear first")
    robot_and_chunks(ros_node, operator, chunks)
    assert policy.observations[0]["language"] == {"task": [["the pear first"]]}


def test_without_an_instruction_the_node_asks_for_one(
    make_node: MakeNode, operator: Operator, ros_node: Node
) -> None:
    make_node(instruction=None)
    Robot(ros_node)
    assert operator.trigger("start").success
    operator.wait_for_reason("no instruction: set the parameter or publish on ~/instruction")


def test_a_policy_that_is_not_there_yet_is_waited_for(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    chunks: list[ActionChunk],
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> dict[str, ModalityConfig]:
        raise PolicyTimeoutError("gpu-box:5555 did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(policy, "get_modality_config", refuse)
        make_node()
        Robot(ros_node)
        assert operator.trigger("start").success
        status = operator.wait_for_reason("gpu-box:5555 did not answer")
        assert status.state == PolicyStatus.STATE_WAITING
        operator.wait_for_status(lambda s: s.inference_errors >= 3, "it goes on trying")
    wait_until(lambda: chunks, what="a chunk")
    assert capfd.readouterr().err.count("not inferring: ") == 1


def test_a_policy_that_does_not_fit_when_it_comes_is_not_asked(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [PolicyTimeoutError("not there yet")]
    original = policy.get_modality_config

    def config() -> dict[str, ModalityConfig]:
        if answers:
            raise answers.pop()
        return original()

    monkeypatch.setattr(policy, "get_modality_config", config)
    make_node(state__gripper__joints=["finger", "wheel"])
    Robot(ros_node)
    assert operator.trigger("start").success
    operator.wait_for_reason("state.gripper has 2 values, the policy expects 1")
    assert policy.observations == []


def test_cleanup_with_a_policy_that_hangs_returns(
    thinking_policy: EchoPolicy, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
    assert "the policy hangs in a call" in capfd.readouterr().err
    thinking_policy.go.set()
