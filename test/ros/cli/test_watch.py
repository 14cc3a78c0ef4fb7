# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy watch` shows what the nodes say of themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rclpy.context import Context
from rclpy.node import Node

pytest.importorskip("rich", reason="pip install '.[top]'")

from gr00t_policy_core.cli import main
from gr00t_ros.msg import ControlStatus, JointStatus, PolicyStatus, StreamStatus
from gr00t_ros.node.qos import STATUS


class Statuses(Node):
    """Publishes the statuses of some nodes at 10 Hz."""

    def __init__(self, context: Context, namespace: str, *messages: PolicyStatus | ControlStatus):
        super().__init__("statuses", context=context, namespace=namespace)
        names = {PolicyStatus: "policy_node/status", ControlStatus: "control_node/status"}
        for message in messages:
            publisher = self.create_publisher(type(message), names[type(message)], STATUS)
            self.create_timer(0.1, lambda p=publisher, m=message: p.publish(m))


def policy_status() -> PolicyStatus:
    status = PolicyStatus(state=PolicyStatus.STATE_WAITING, reason="video.front is [red]stale")
    status.round_trip.last_s = status.round_trip.p50_s = status.round_trip.p99_s = 0.0625
    status.streams = [StreamStatus(name="video.front", rate_hz=12.0, expected_rate_hz=30.0)]
    return status


def control_status() -> ControlStatus:
    status = ControlStatus(state=ControlStatus.STATE_HOLDING, reason="the chunk ended", holds=3)
    status.joints = [JointStatus(name="elbow", command=1.25, limited_by="velocity")]
    return status


def test_both_nodes_are_shown_with_their_reasons(
    ros_context: Context,
    spin: Callable[[Node], Node],
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    spin(Statuses(ros_context, "/robot1", policy_status(), control_status()))
    assert main(["watch", "--once", "--namespace", "/robot1"]) == 0
    shown = capsys.readouterr().out
    for text in ("waiting", "video.front is [red]stale", "62 ms", "12 Hz SLOW", "30 Hz"):
        assert text in shown
    for text in ("holding", "the chunk ended", "3 holds", "elbow", "1.25", "velocity"):
        assert text in shown


def test_a_silent_node_is_named_and_the_status_is_1(
    ros_context: Context,
    spin: Callable[[Node], Node],
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gr00t_ros.cli.watch.ONCE_S", 2.0)
    spin(Statuses(ros_context, "", control_status()))
    assert main(["watch", "--once"]) == 1
    shown = capsys.readouterr().out
    assert "silent: no status yet" in shown.partition("control node")[0]
