# SPDX-License-Identifier: Apache-2.0
"""A control node on a test bench: the robot and the policy around it, and what it commands."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from helpers import require_within, wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, Operator, chunk_of, overrides, patience
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.interfaces.command_publisher import CommandPublisher, Values
from gr00t_ros.msg import ActionChunk, ControlStatus
from gr00t_ros.node.lifecycle import ManagedNode

PERIOD_S, DT_S = 0.01, 0.05
LIMITS = {"velocity": 3.0, "acceleration": 25.0, "jerk": 500.0}  # the defaults
NAMES = ("shoulder", "elbow", "finger")
HOLDING = ControlStatus.STATE_HOLDING
FRESH_CHUNK_S = 1.0
BRAKING_S = 0.35  # more than enough to stop from any speed here


def urdf(**limits: str) -> str:
    joints = "".join(
        f'<joint name="{name}" type="revolute"><limit {attributes}/></joint>'
        for name, attributes in limits.items()
    )
    return f'<robot name="arm">{joints}</robot>'


class Rig:
    """An active control node, what it commands, and the robot and policy around it.

    The robot stands at 0 and follows its commands, until a test sets `joints`: then it stands
    there, or is not measured any more (None). Its clock is `ahead_s` ahead of the node's, s.
    """

    def __init__(self, context: Context, live: Callable[[ManagedNode], None], peer: Node) -> None:
        self._context, self._live, self.peer = context, live, peer
        self.operator = Operator(peer, "control_node")
        self.chunks = peer.create_publisher(ActionChunk, "action_chunk", 5)
        self._joint_states = peer.create_publisher(JointState, "joint_states", 10)
        self.received: list[JointState] = []
        self.node: ControlNode | None = None
        self._joints: list[float] | None = [0.0, 0.0, 0.0]
        self._follows = True
        self.ahead_s = 0.0
        self._seen = 0  # commands before the robot was put somewhere
        self._number = 0
        self._commanded: list[np.ndarray] = []
        peer.create_subscription(JointState, "commands", self.received.append, 500)
        peer.create_timer(0.02, self._publish_joints)

    @property
    def joints(self) -> list[float] | None:
        """Where the robot is measured."""
        return self._joints

    @joints.setter
    def joints(self, joints: list[float] | None) -> None:
        self._joints, self._follows = joints, False

    def follow(self, *joints: float) -> None:
        """The robot stands here, and does what it is told from now on."""
        self._joints, self._follows = list(joints), False
        self._seen = len(self._commanded)
        self._follows = True

    @contextlib.contextmanager
    def tapped(self) -> Iterator[None]:
        """Within, every command on the topic `commands` is noted before DDS may lose it."""
        publish = CommandPublisher.publish

        def tapped(publisher: CommandPublisher, values: Values, stamp: Time) -> None:
            if publisher._publisher.topic_name == "/commands":
                self._commanded.append(np.concatenate([values[key] for key in publisher._keys]))
            publish(publisher, values, stamp)

        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(CommandPublisher, "publish", tapped)
            yield

    def start(self, **changes: Any) -> ControlNode:
        interfaces = {
            f"action__{key}__type": "joint_state"
            for key in ("arm", "gripper")
            if f"action__{key}__type" not in changes
        }
        self.values = parameters(**patience({**interfaces, **changes}))
        self.node = ControlNode(context=self._context, parameter_overrides=overrides(self.values))
        self._live(self.node)
        assert self.operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
        wait_until(self.chunks.get_subscription_count, what="the node listens to chunks")
        motion = self.node._motion
        if self.joints is not None and motion.robot.joints.interfaces:
            wait_until(lambda: self._joint_states.get_subscription_count() > 0, what="it sees them")
            measured = motion.robot.joints
            wait_until(lambda: set(measured._known) == measured.names, what="it knows its joints")
        return self.node

    def is_moving(self) -> bool:
        """Whether it has commanded the finger some way from where the robot began."""
        command = self.node._motion.command
        return command is not None and command.values["gripper"][0] > 0.3

    def cut_braking_short(self) -> None:
        """As after a second Ctrl-C: the node waits for no rest from now on."""
        for _ in range(2):
            self.node._stop_request.handle(signal.SIGINT)
            self.node._stop_request._came_s[signal.SIGINT] -= 1.0

    def play(
        self,
        start: float = 0.0,
        speed: float = 0.5,
        *,
        late_s: float = 0.0,
        horizon: int = 60,
        source: str = "",
    ) -> None:
        """Publish a chunk in which every joint climbs from `start`, rad, at `speed`, rad/s."""
        self._number += 1
        climb = start + speed * DT_S * np.arange(horizon)[:, None]
        values = {"arm": np.hstack([climb, climb]), "gripper": climb}
        t0_ns = self.now_ns() - round(late_s * 1e9)
        message = chunk_of(values, t0_ns=t0_ns, dt_s=DT_S, chunk_id=self._number)
        message.source = source
        self.chunks.publish(message)

    def play_until(self, predicate: Callable[[], object], what: str, **chunk: Any) -> None:
        """Play fresh chunks, as a policy does, until `predicate()` is true.

        For what a busy machine may plan too late: the node refuses such a chunk.
        """
        played_s = -np.inf

        def is_true_by_now() -> bool:
            nonlocal played_s
            if predicate():
                return True
            if time.monotonic() - played_s > FRESH_CHUNK_S:
                self.play(**chunk)
                played_s = time.monotonic()
            return False

        wait_until(is_true_by_now, what=what)

    def now_ns(self) -> int:
        return int(self.peer.get_clock().now().nanoseconds)

    def wait_for_commands(self, more: int) -> None:
        wanted = len(self.received) + more
        wait_until(lambda: len(self.received) >= wanted, what="commands")

    def wait_for_rest(self) -> float:
        """Where it rests."""

        def stands_still() -> bool:
            path = self.path()
            return len(path) > 20 and bool((path[-15:] == path[-1]).all())

        wait_until(stands_still, what="rest")
        return float(self.path()[-1, 0])

    def path(self) -> np.ndarray:
        """Every command so far, float64 (n, 3), one for each tick."""
        return np.array(self._commanded).reshape(-1, 3)

    def gripper(self) -> np.ndarray:
        """Every command of a gripper that is streamed alone, float64 (n,)."""
        return np.array(self._commanded)[:, 0]

    def require_smooth(self, **limits: float) -> None:
        """All commands keep the limits from tick to tick."""
        path = self.path()
        assert len(path) > 20
        for joint in range(3):
            require_within(path[:, joint], period_s=PERIOD_S, **{**LIMITS, **limits})

    def _publish_joints(self) -> None:
        commanded = self._commanded[self._seen :]
        if self._follows and commanded and len(commanded[-1]) == len(NAMES):
            self._joints = commanded[-1].tolist()
        if self._joints is not None:
            self._joint_states.publish(self._measured(self._joints, self.ahead_s))

    def measure_once(self, joints: list[float], *, ahead_s: float) -> None:
        """Publish one more measurement, stamped ahead of the clock."""
        self._joint_states.publish(self._measured(joints, ahead_s))

    def _measured(self, joints: list[float], ahead_s: float) -> JointState:
        message = JointState(name=list(NAMES), position=joints)
        now = self.peer.get_clock().now()
        message.header.stamp = (now + Duration(seconds=ahead_s)).to_msg()
        return message
