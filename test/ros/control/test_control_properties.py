# SPDX-License-Identifier: Apache-2.0
"""The whole control node on a clock of the test's own, whatever comes in and in whatever order.

No two consecutive commands, and no first command against the measured position, differ by more
than the limits allow in that time.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import require_within
from motion_rig import LIMITS, NAMES, urdf
from nodes_for_tests import chunk_of
from policies_for_tests import parameters
from rclpy.context import Context
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from world_rig import MS_NS, PERIOD_S, Clock, World, still_node

from gr00t_policy_core.control.measured_state import MOVED
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import ActionChunk

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

SLOWEST = 0.2  # the lowest velocity limit of a robot description here, rad/s


class JointWorld(World):
    """An arm and a gripper that are commanded by their joints."""

    def __init__(self, node: ControlNode, clock: Clock, *, follows: bool) -> None:
        super().__init__(node, clock, follows=follows)
        self.doings |= {"push": self.push, "urdf": self.describe}

    def standing(self) -> dict[str, np.ndarray]:
        return {"arm": np.zeros(2), "gripper": np.zeros(1)}

    def measure(self) -> None:
        message = JointState(name=list(NAMES), position=self.joints().tolist())
        message.header.stamp = self.clock.now().to_msg()
        for topic, interfaces in self.node._motion.robot.joints.interfaces.items():
            self.node._inputs.on_joints(topic, interfaces, message)

    def joints(self) -> np.ndarray:
        return np.concatenate([self.places["arm"], self.places["gripper"]])

    def chunk(self, value: int) -> ActionChunk:
        rng = np.random.default_rng(value)
        start = self.joints() + rng.normal(0.0, 0.3, 3) * (value % 3)
        rows = start + np.cumsum(rng.normal(0.0, 0.1, (int(rng.integers(1, 40)), 3)), axis=0)
        if value % 17 == 0:
            rows[len(rows) // 2, value % 3] = [1e9, np.nan, -1e300][value % 3]
        return chunk_of(
            {"arm": rows[:, :2], "gripper": rows[:, 2:]},
            t0_ns=self.clock.now_ns - (value % 700 - 50) * MS_NS,
            dt_s=0.05,
            chunk_id=self.number,
        )

    def push(self, value: int) -> None:
        key, index = [("arm", 0), ("arm", 1), ("gripper", 0)][value % 3]
        self.places[key][index] += (value % 401 - 200) / 200

    def describe(self, value: int) -> None:
        velocity = SLOWEST + value % 30 / 10
        limit = f'lower="-1.5" upper="1.5" velocity="{velocity}"'
        text = urdf(**dict.fromkeys(NAMES, limit)) if value % 5 else "<robot"
        self.node._inputs.on_description("robot_description", String(data=text))


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
    clock = Clock()
    node = still_node(ros_context, clock, monkeypatch, values)
    world = JointWorld(node, clock, follows=follows)
    with world.running():
        for what, value in actions:
            world.do(what, value)
        world.tick(30)
    assert node.has_failed is False
    for key in world.keys:
        for rows in world.rows(key):
            for joint in range(rows.shape[1]):
                require_within(rows[:, joint], period_s=PERIOD_S, **LIMITS)
    is_pushed = any(what == "push" for what, _ in actions)
    step = MOVED if is_pushed else min(MOVED, SLOWEST * PERIOD_S)
    for key in world.keys:
        for rows, place in zip(world.rows(key), world.begun_at[key], strict=True):
            np.testing.assert_allclose(rows[0], place, rtol=0.0, atol=step)
