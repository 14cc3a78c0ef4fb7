# SPDX-License-Identifier: Apache-2.0
"""Chunks that must not move the robot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_ramps import MakeNode, now_ns, ramp
from helpers import wait_until
from nodes_for_tests import Operator
from rclpy.node import Node
from rclpy.publisher import Publisher

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import ActionChunk, ControlStatus


def refused_chunks(t0_ns: int) -> dict[str, tuple[ActionChunk, str]]:
    nan, inf = np.zeros((20, 2)), np.zeros((20, 1))
    nan[7, 1], inf[3, 0] = np.nan, np.inf
    short = ramp(t0_ns)
    short.actions[0].values = short.actions[0].values[:-1]
    uneven = ramp(t0_ns)
    uneven.horizon = 19
    lacking = ramp(t0_ns)
    lacking.actions = lacking.actions[:1]
    without_dt = ramp(t0_ns)
    without_dt.dt = 0.0
    endless = ramp(t0_ns)
    endless.dt = 1e308
    outlived = ramp(t0_ns)
    outlived.control_source = "/control_node#0"
    return {
        "nan": (ramp(t0_ns, arm=nan), "arm: a value of step 7 is not finite"),
        "inf": (ramp(t0_ns, gripper=inf), "gripper: a value of step 3 is not finite"),
        "short": (short, "39 values are not 20 steps of 2"),
        "uneven": (uneven, "40 values are not 19 steps of 2"),
        "lacking": (lacking, "lacks action.gripper"),
        "wide": (ramp(t0_ns, arm=np.zeros((20, 3))), "3 values per step, the parameters give 2"),
        "narrow": (ramp(t0_ns, arm=np.zeros((20, 1))), "1 values per step, the parameters give 2"),
        "without dt": (without_dt, "dt must be"),
        "endless": (endless, "dt must be"),
        "outlived": (outlived, "for /control_node#0, which was started again since; ~/start of"),
        "old": (ramp(t0_ns - 100_000_000_000), "after its last step"),
        "future": (ramp(t0_ns + 100_000_000_000), "in the future: clocks differ"),
    }


def refused(node: ControlNode) -> int:
    return node._motion.chunks_rejected


def test_chunks_that_must_not_move_the_robot_are_refused_and_the_old_one_plays_on(
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    node = activate_node(stands_at=(5.0, 105.0, 200.0))
    chunks.publish(ramp(now_ns(ros_node), start=5.0, horizon=400, chunk_id=9))
    wait_until(lambda: commands, what="a command")
    refusals = refused_chunks(now_ns(ros_node))
    for number, (message, _) in enumerate(refusals.values(), start=1):
        chunks.publish(message)
        wait_until(lambda n=number: refused(node) == n, what="it is refused")
    status = operator.wait_for_status(lambda s: s.chunks_rejected == len(refusals), "the count")
    assert (status.state, status.chunk_id) == (ControlStatus.STATE_RUNNING, 9)
    values = np.array([message.points[0].positions for _, message in commands])
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=0) >= 0.0).all()
    told = capfd.readouterr().err.count("rejected: chunk 1")
    assert 1 <= told < len(refusals)  # said, and throttled


@pytest.mark.parametrize("name", ["nan", "lacking", "wide", "future"])
def test_a_refusal_says_why_and_nothing_is_commanded(
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
    name: str,
) -> None:
    activate_node()
    message, why = refused_chunks(now_ns(ros_node))[name]
    chunks.publish(message)
    status = operator.wait_for_reason(why)
    assert status.state == ControlStatus.STATE_WAITING
    assert commands == []
