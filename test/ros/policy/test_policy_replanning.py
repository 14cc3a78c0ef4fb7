# SPDX-License-Identifier: Apache-2.0
"""When the policy is asked, by the clock in force, and what it is told of the present chunk."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from helpers import wait_until
from nodes_for_tests import MakeNode, Operator, Robot, SimulatedTime, quiet_for
from numpy.testing import assert_allclose
from policies_for_tests import ACTION_RATE_HZ, HORIZON, EchoPolicy
from rclpy.node import Node
from std_msgs.msg import Bool

from gr00t_policy_core.control.replan import RAMP_DOWN_S, RAMP_DOWN_SHARE
from gr00t_policy_core.errors import PolicyTimeoutError
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.node.qos import LATCHED


def test_simulated_time_is_the_time_of_observations_and_of_the_cadence(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node(use_sim_time=True, replan_interval_s=0.5)
    sim_time = SimulatedTime(ros_node)
    robot = Robot(ros_node, now_ns=sim_time.ns)
    assert operator.trigger("start").success

    def has_chunks(count: int) -> bool:
        robot.publish()  # at every step: the time of a busy machine may pass without its timers
        return len(chunks) >= count

    sim_time.run(lambda: has_chunks(3), "chunks")
    t0s_s = [c.header.stamp.sec + c.header.stamp.nanosec * 1e-9 for c in chunks]
    assert 1000.0 <= t0s_s[0] < t0s_s[1] < t0s_s[2] <= sim_time.now_s
    assert t0s_s[2] - t0s_s[1] > 0.3

    # While time stands still nothing is asked, and the status goes on.
    quiet_for(chunks)
    count = len(chunks)
    operator.wait_for_status(lambda s: True, "a status while time stands still")
    assert len(chunks) == count

    sim_time.now_s = 5.0  # the simulation starts again
    sim_time.run(lambda: has_chunks(count + 2), "chunks of the new time")
    assert chunks[-1].header.stamp.sec < 900


CHUNK_S = (HORIZON - 1) / ACTION_RATE_HZ


def stamps_s(chunks: list[ActionChunk]) -> np.ndarray:
    return np.array([c.header.stamp.sec % 10_000 + c.header.stamp.nanosec * 1e-9 for c in chunks])


def test_by_default_the_next_chunk_is_asked_for_when_the_latency_demands_it(
    make_node: MakeNode, operator: Operator, chunks: list[ActionChunk], robot: Robot
) -> None:
    make_node(replan_interval_s=0.0)
    assert operator.trigger("start").success
    wait_until(lambda: len(chunks) >= 4, what="chunks")
    gaps_s = np.diff(stamps_s(chunks))
    # Before the chunk slows down, and not long before: latency and a step are covered as well.
    rest_s = 1.0 / ACTION_RATE_HZ + min(RAMP_DOWN_S, RAMP_DOWN_SHARE * CHUNK_S)
    assert np.median(gaps_s) == pytest.approx(CHUNK_S - rest_s, abs=0.15)
    assert (gaps_s < CHUNK_S).all()


class SlowPolicy(EchoPolicy):
    """Takes longer for a chunk than it lasts."""

    def get_action(self, *arguments: Any) -> Any:
        threading.Event().wait(1.3 * CHUNK_S)
        return super().get_action(*arguments)


def test_a_policy_slower_than_its_chunks_is_told_with_what_to_do(
    start_node: MakeNode, operator: Operator, robot: Robot
) -> None:
    start_node(lambda settings: SlowPolicy(), replan_interval_s=0.0)
    assert operator.trigger("start").success
    status = operator.wait_for_reason(f"a chunk lasts {CHUNK_S:.2f} s, and the robot stands still")
    assert status.state == PolicyStatus.STATE_RUNNING
    assert "set inference: sync" in status.reason


def test_in_turn_a_chunk_is_played_before_the_next_is_asked_for(
    make_node: MakeNode, operator: Operator, chunks: list[ActionChunk], robot: Robot
) -> None:
    make_node(inference="sync", replan_interval_s=None)
    assert operator.trigger("start").success
    wait_until(lambda: len(chunks) >= 3, what="chunks")
    assert (np.diff(stamps_s(chunks)) > CHUNK_S - 0.06).all()  # an observation is up to 0.06 s old


def test_a_policy_that_can_go_on_is_told_what_is_left_of_the_chunk(
    make_node: MakeNode,
    operator: Operator,
    chunks: list[ActionChunk],
    robot: Robot,
    policy: EchoPolicy,
) -> None:
    policy.capabilities = ("rtc",)
    make_node(blend="rtc")
    assert operator.trigger("start").success
    wait_until(lambda: len(policy.options) >= 3, what="inferences")
    assert policy.options[0] is None
    rtc = (policy.options[2] or {})["rtc"]
    overlap = rtc["prefix"]["arm"].shape[1]
    # At 0.2 s of 0.05 s steps, four of them are gone, one more or less for the message's age.
    assert abs(overlap - (HORIZON - 4)) <= 2
    assert rtc["prefix"]["gripper"].shape == (1, overlap, 1)
    assert 0 <= rtc["frozen_steps"] <= overlap
    # They are the last steps of the chunk before, in the policy's units.
    before = np.array(chunks[1].actions[1].values, np.float32)
    assert_allclose(rtc["prefix"]["gripper"][0, :, 0], before[-overlap:])


def test_a_policy_in_degrees_publishes_radians_and_is_told_the_rest_of_its_chunk_in_degrees(
    make_node: MakeNode,
    operator: Operator,
    chunks: list[ActionChunk],
    robot: Robot,
    policy: EchoPolicy,
) -> None:
    policy.capabilities = ("rtc",)
    degrees, radians = math.degrees(1.0), math.radians(1.0)
    make_node(
        blend="rtc",
        state__arm__scale=degrees,
        state__gripper__scale=degrees,
        action__arm__scale=radians,
        action__gripper__scale=radians,
    )
    assert operator.trigger("start").success
    wait_until(lambda: len(policy.options) >= 3 and len(chunks) >= 2, what="inferences")
    start_rad = robot.joints["shoulder"]
    seen = policy.observations[0]["state"]["arm"][0, 0, 0]
    assert seen == pytest.approx(math.degrees(start_rad), rel=1e-6)
    assert chunks[0].actions[0].values[0] == pytest.approx(start_rad, rel=1e-6)
    prefix = (policy.options[2] or {})["rtc"]["prefix"]["arm"][0, :, 0]
    published = np.array(chunks[1].actions[0].values).reshape(HORIZON, 2)[:, 0]
    assert_allclose(prefix, np.degrees(published[-len(prefix) :]), rtol=1e-6)


def test_a_policy_that_cannot_go_on_is_told_nothing_and_the_log_says_so_once(
    make_node: MakeNode,
    operator: Operator,
    chunks: list[ActionChunk],
    robot: Robot,
    policy: EchoPolicy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node(blend="rtc")
    assert operator.trigger("start").success
    wait_until(lambda: len(chunks) >= 2, what="chunks")

    real, troubles = policy.get_action, [PolicyTimeoutError("gone")] * 2

    def fail_twice(*arguments: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return real(*arguments)

    monkeypatch.setattr(policy, "get_action", fail_twice)
    wait_until(lambda: not troubles, what="two failures, each of which prepares anew")
    count = len(chunks)
    wait_until(lambda: len(chunks) > count, what="chunks again")
    assert capfd.readouterr().err.count("the policy cannot continue chunks") == 1
    assert set(policy.options) == {None}


def test_diagnostics_tell_the_streams_and_the_inference(
    make_node: MakeNode, operator: Operator, ros_node: Node, robot: Robot
) -> None:
    heard: list[dict[str, str]] = []

    def hear(array: DiagnosticArray) -> None:
        heard.extend({pair.key: pair.value for pair in one.values} for one in array.status)

    ros_node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    make_node()
    assert operator.trigger("start").success
    operator.wait_until_running()
    wait_until(lambda: heard and int(heard[-1]["inferences"]) > 0, what="diagnostics")
    told = heard[-1]
    assert {f"{name} age_s" for name in ("video.front", "state.arm", "state.gripper")} <= set(told)
    assert float(told["round_trip p50_s"]) > 0.0
    assert float(told["policy_time p99_s"]) == 0.001


def test_when_a_person_lets_go_the_policy_is_asked_anew(
    make_node: MakeNode,
    operator: Operator,
    chunks: list[ActionChunk],
    robot: Robot,
    ros_node: Node,
    policy: EchoPolicy,
) -> None:
    policy.capabilities = ("rtc",)
    who_drives = ros_node.create_publisher(Bool, "intervention", LATCHED)
    make_node(replan_interval_s=60.0)
    assert operator.trigger("start").success
    wait_until(lambda: len(chunks) == 1, what="a chunk")
    who_drives.publish(Bool(data=True))
    who_drives.publish(Bool(data=True))
    quiet_for(chunks)
    let_go_ns = ros_node.get_clock().now().nanoseconds
    who_drives.publish(Bool(data=False))
    wait_until(lambda: len(chunks) == 2, what="a chunk that was observed since")
    who_drives.publish(Bool(data=False))
    quiet_for(chunks)
    assert len(chunks) == 2
    stamp = chunks[-1].header.stamp
    assert stamp.sec * 1_000_000_000 + stamp.nanosec >= let_go_ns
    assert policy.options[-1] is None or "rtc" not in policy.options[-1]


def test_no_chunk_from_before_a_person_let_go_is_continued(
    make_node: MakeNode, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node()
    assert operator.trigger("start").success
    assert node._worker is not None
    assert node._continuation is not None
    order: list[str] = []
    monkeypatch.setattr(node._worker, "ask_anew", lambda _: order.append("answers are dropped"))
    monkeypatch.setattr(node._continuation, "forget", lambda _: order.append("the last is, too"))
    for drives in (True, False):
        node._on_intervention(Bool(data=drives))
    assert order[:2] == ["answers are dropped", "the last is, too"]
