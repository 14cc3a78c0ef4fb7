# SPDX-License-Identifier: Apache-2.0
"""The whole control node on a clock of the test's own, whatever comes in and in whatever order.

No two consecutive commands, and no first command against the measured position, differ by more
than the limits allow in that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from helpers import require_within
from motion_rig import urdf
from nodes_for_tests import chunk_of, overrides
from policies_for_tests import parameters
from rclpy.clock import ClockType
from rclpy.context import Context
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from gr00t_policy_core.control.measured_state import MOVED
from gr00t_ros.control import activation
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.interfaces.command_publisher import CommandPublisher, Values
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import bring_up

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

PERIOD_NS, MS_NS = 10_000_000, 1_000_000
NAMES = ("shoulder", "elbow", "finger")
SLOWEST = 0.2  # the lowest velocity limit of a robot description here, rad/s
LIMITS = {"velocity": 3.0, "acceleration": 25.0, "jerk": 500.0}  # the defaults; others are tighter


class StillLoop:
    """In place of the control loop: the test ticks."""

    is_alive = False
    silent_s = 0.0

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def end(self) -> None: ...


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def now(self) -> Time:
        return Time(nanoseconds=self.now_ns, clock_type=ClockType.ROS_TIME)


@dataclass
class World:
    """A control node, its arm, and everybody who sends it something."""

    node: ControlNode
    clock: Clock
    follows: bool
    arm: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    is_measured: bool = True
    number: int = 0
    stretches: list[list[np.ndarray]] = field(default_factory=lambda: [[]])
    begun_at: list[np.ndarray] = field(default_factory=list)

    def published(self, values: Values) -> None:
        row = np.concatenate([values["arm"], values["gripper"]])
        if not self.stretches[-1]:
            self.begun_at.append(np.array(self.arm))
        self.stretches[-1].append(row)
        if self.follows:
            self.arm = row.tolist()

    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.clock.now_ns += PERIOD_NS
            self.measure()
            count = sum(map(len, self.stretches))
            self.node._activation.tick()
            if sum(map(len, self.stretches)) == count and self.stretches[-1]:
                self.stretches.append([])  # nothing is published: the next command is a first one

    def measure(self) -> None:
        if self.is_measured:
            message = JointState(name=list(NAMES), position=self.arm)
            message.header.stamp = self.clock.now().to_msg()
            for topic, interfaces in self.node._motion.robot.joints.interfaces.items():
                self.node._inputs.on_joints(topic, interfaces, message)

    def chunk(self, value: int) -> None:
        self.number += 1
        rng = np.random.default_rng(value)
        start = np.array(self.arm) + rng.normal(0.0, 0.3, 3) * (value % 3)
        rows = start + np.cumsum(rng.normal(0.0, 0.1, (int(rng.integers(1, 40)), 3)), axis=0)
        if value % 17 == 0:
            rows[len(rows) // 2, value % 3] = [1e9, np.nan, -1e300][value % 3]
        message = chunk_of(
            {"arm": rows[:, :2], "gripper": rows[:, 2:]},
            t0_ns=self.clock.now_ns - (value % 700 - 50) * MS_NS,
            dt_s=0.05,
            chunk_id=self.number,
        )
        message.source = f"policy_node#{value % 11 == 0}"
        self.node._on_chunk(message)

    def do(self, what: str, value: int) -> None:
        node = self.node
        if what == "tick":
            self.tick(value % 60)
        elif what == "chunk":
            self.chunk(value)
        elif what == "policy stops":
            node._on_chunk(ActionChunk(stop=True, stop_reason="~/stop was called"))
        elif what == "stall":
            self.clock.now_ns += value * MS_NS // 4
        elif what == "clock":
            self.clock.now_ns -= value % 3 * 400 * MS_NS
        elif what == "push":
            self.arm[value % 3] += (value % 401 - 200) / 200
        elif what == "joints":
            self.is_measured = bool(value % 3)
        elif what == "stop":
            node._on_stop(Trigger.Request(), Trigger.Response())
        elif what == "start":
            node._on_start(Trigger.Request(), Trigger.Response())
        elif what == "enable":
            node._inputs.on_enable(Bool(data=bool(value % 4)))
        elif what == "urdf":
            velocity = SLOWEST + value % 30 / 10
            limit = f'lower="-1.5" upper="1.5" velocity="{velocity}"'
            text = urdf(**dict.fromkeys(NAMES, limit)) if value % 5 else "<robot"
            node._inputs.on_description("robot_description", String(data=text))
        elif what == "reactivate":
            node.trigger_deactivate()
            self.stretches.append([])
            node.trigger_activate()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("tick", "tick", "tick", "chunk", "chunk", "chunk", "push", "stall", "clock"),
                *(
                    "joints",
                    "stop",
                    "start",
                    "start",
                    "enable",
                    "urdf",
                    "policy stops",
                    "reactivate",
                ),
            ]
        ),
        st.integers(0, 5000),
    ),
    min_size=3,
    max_size=30,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(activation, "ControlLoop", StillLoop)
    monkeypatch.setattr(ControlNode, "get_clock", lambda _: clock)
    return clock


@settings(
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    ACTIONS,
    st.booleans(),
    st.sampled_from(["hold", "stop_publishing"]),
    st.sampled_from(["refuse", "return"]),
    st.sampled_from(["offset_fade", "replace", "ensemble"]),
)
def test_no_command_differs_from_the_one_before_by_more_than_the_limits_allow(
    ros_context: Context,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    actions: list[tuple[str, int]],
    follows: bool,
    on_starvation: str,
    out_of_range: str,
    blend: str,
) -> None:
    values = parameters(
        require_subscribers=False,
        on_starvation=on_starvation,
        out_of_range=out_of_range,
        blend=blend,
        max_jump=0.5,
        action__arm__max_position=1.2,
    )
    node = ControlNode(context=ros_context, parameter_overrides=overrides(values))
    world = World(node, clock, follows)
    with monkeypatch.context() as patching:
        patching.setattr(CommandPublisher, "publish", lambda _, values, __: world.published(values))
        try:
            assert bring_up(node)
            world.tick(2)
            for what, value in actions:
                world.do(what, value)
            world.tick(30)
        finally:
            node.close()
            node.destroy_node()
    assert node.has_failed is False
    for stretch in filter(None, world.stretches):
        rows = np.array(stretch)
        for joint in range(3):
            require_within(rows[:, joint], period_s=PERIOD_NS * 1e-9, **LIMITS)
    first = [stretch[0] for stretch in world.stretches if stretch]
    is_pushed = any(what == "push" for what, _ in actions)
    step = MOVED if is_pushed else min(MOVED, SLOWEST * PERIOD_NS * 1e-9)
    for command, arm in zip(first, world.begun_at, strict=True):
        np.testing.assert_allclose(command, arm, rtol=0.0, atol=step)
