# SPDX-License-Identifier: Apache-2.0
"""Whether the control node is still the one that inference was started for."""

from __future__ import annotations

import pytest
from helpers import wait_until
from nodes_for_tests import MakeNode, Operator, Robot, quiet_for
from rclpy.node import Node

from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.policy.control_watch import RESTARTED, ControlRun
from gr00t_ros.policy.robot_info import CONTROL_STATUS_TOPIC


def status(run: str) -> ControlStatus:
    return ControlStatus(source=f"/control_node#{run}")


def test_the_first_run_that_is_heard_after_a_start_is_the_one_it_is_for() -> None:
    run = ControlRun()
    run.begin()
    assert run.source == ""
    for _ in range(3):
        assert run.receive(status("1")) == ""
    assert run.receive(status("2")) == RESTARTED
    assert run.source == "/control_node#1"
    run.begin()
    assert run.receive(status("2")) == ""
    assert run.source == "/control_node#2"


@pytest.mark.parametrize("autostart", [True, False])
def test_inference_stops_when_the_control_node_was_started_again(
    make_node: MakeNode,
    operator: Operator,
    robot: Robot,
    ros_node: Node,
    chunks: list[ActionChunk],
    autostart: bool,
) -> None:
    node = make_node(autostart=autostart)
    if autostart:
        assert operator.change_state(1, 3) == [True, True]
    else:
        assert operator.trigger("start").success
    wait_until(lambda: chunks, what="chunks before there is a control node")
    assert chunks[0].control_source == ""
    publisher = ros_node.create_publisher(ControlStatus, CONTROL_STATUS_TOPIC, STATUS)
    wait_until(publisher.get_subscription_count, what="it listens")
    publisher.publish(status("1"))
    wait_until(lambda: chunks[-1].control_source == "/control_node#1", what="chunks for it")
    assert node._worker is not None
    assert node._worker.started

    publisher.publish(status("2"))
    stopped = operator.wait_for_reason(f"stopped: {RESTARTED}")
    assert stopped.state == PolicyStatus.STATE_STOPPED
    quiet_for(chunks)
    assert chunks[-1].stop
    assert operator.trigger("start").success
    seen = len(chunks)
    publisher.publish(status("2"))
    wait_until(
        lambda: any(c.control_source == "/control_node#2" for c in chunks[seen:]),
        what="chunks for the new one",
    )


def test_a_stopped_node_starts_for_the_control_node_that_is_there(
    make_node: MakeNode, operator: Operator, robot: Robot, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node()
    publisher = ros_node.create_publisher(ControlStatus, CONTROL_STATUS_TOPIC, STATUS)
    wait_until(publisher.get_subscription_count, what="it listens")
    for run in "12":
        publisher.publish(status(run))
    assert operator.trigger("start").success
    ros_node.create_timer(0.1, lambda: publisher.publish(status("2")))
    wait_until(
        lambda: chunks and chunks[-1].control_source == "/control_node#2", what="chunks for it"
    )
