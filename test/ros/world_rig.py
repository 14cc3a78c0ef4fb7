# SPDX-License-Identifier: Apache-2.0
"""A whole control node on a clock of the test's own, and everybody who sends it something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from nodes_for_tests import overrides
from rclpy.clock import ClockType
from rclpy.context import Context
from rclpy.time import Time
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from gr00t_ros.control import activation
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.interfaces.command_publisher import CommandPublisher, Values
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import bring_up

PERIOD_NS, MS_NS = 10_000_000, 1_000_000
PERIOD_S = PERIOD_NS * 1e-9


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


class World:
    """A control node, its robot, and what befalls them.

    Attributes:
        node: The node.
        clock: Its clock.
        follows: Whether the robot does what it is told.
        places: Where it is, by action key: rad, m and quaternions.
        is_measured: Whether the node hears where it is.
        stretches: What was commanded, by action key: one list of rows for each time in which
            something was published at every tick.
        begun_at: Where the robot was at the first command of each stretch, by action key.
        was_measured: Whether the node heard where it was then, by action key.
    """

    def __init__(self, node: ControlNode, clock: Clock, *, follows: bool) -> None:
        self.node = node
        self.clock = clock
        self.follows = follows
        self.places = self.standing()
        self.is_measured = True
        self.number = 0
        self.stretches: dict[str, list[list[np.ndarray]]] = {key: [[]] for key in self.keys}
        self.begun_at: dict[str, list[np.ndarray]] = {key: [] for key in self.keys}
        self.was_measured: dict[str, list[bool]] = {key: [] for key in self.keys}
        self.doings: dict[str, Callable[[int], object]] = {
            "tick": lambda value: self.tick(value % 60),
            "chunk": self.send_chunk,
            "policy stops": lambda _: node._on_chunk(
                ActionChunk(stop=True, stop_reason="~/stop was called")
            ),
            "stall": self.stall,
            "clock": self.set_clock_back,
            "joints": self.measure_or_not,
            "stop": lambda _: node._on_stop(Trigger.Request(), Trigger.Response()),
            "start": lambda _: node._on_start(Trigger.Request(), Trigger.Response()),
            "enable": lambda value: node._inputs.on_enable(Bool(data=bool(value % 4))),
            "reactivate": self.reactivate,
        }

    keys: tuple[str, ...] = ("arm", "gripper")

    def standing(self) -> dict[str, np.ndarray]:
        """Where the robot is at first, by action key."""
        raise NotImplementedError

    def measure(self) -> None:
        """Tell the node where the robot is."""
        raise NotImplementedError

    def chunk(self, value: int) -> ActionChunk:
        """The chunk that a number stands for, near the robot or not."""
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, the node is active and everything that it publishes is noted."""
        with pytest.MonkeyPatch.context() as patching:
            patching.setattr(
                CommandPublisher,
                "publish",
                lambda publisher, values, _: self.published(publisher._keys, values),
            )
            try:
                assert bring_up(self.node)
                self.tick(2)
                yield
            finally:
                self.node.close()
                self.node.destroy_node()

    def do(self, what: str, value: int) -> None:
        self.doings[what](value)

    def rows(self, key: str) -> Iterator[np.ndarray]:
        """What was commanded in each stretch, float64 (n, D)."""
        return (np.array(stretch) for stretch in self.stretches[key] if stretch)

    def published(self, keys: tuple[str, ...], values: Values) -> None:
        for key in keys:
            stretch = self.stretches[key][-1]
            if not stretch:
                self.begun_at[key].append(self.places[key].copy())
                self.was_measured[key].append(self.is_measured)
            stretch.append(np.array(values[key], np.float64))
            if self.follows:
                self.places[key] = stretch[-1].copy()

    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.clock.now_ns += PERIOD_NS
            if self.is_measured:
                self.measure()
            before = {key: len(self.stretches[key][-1]) for key in self.keys}
            self.node._activation.tick()
            for key, count in before.items():
                if count == len(self.stretches[key][-1]) > 0:
                    self.stretches[key].append([])  # silence: the next command is a first one

    def send_chunk(self, value: int) -> None:
        self.number += 1
        message = self.chunk(value)
        message.source = f"policy_node#{value % 11 == 0}"
        self.node._on_chunk(message)

    def stall(self, value: int) -> None:
        self.clock.now_ns += value * MS_NS // 4

    def set_clock_back(self, value: int) -> None:
        self.clock.now_ns -= value % 3 * 400 * MS_NS

    def measure_or_not(self, value: int) -> None:
        self.is_measured = bool(value % 3)

    def reactivate(self, _: int) -> None:
        self.node.trigger_deactivate()
        for key in self.keys:
            self.stretches[key].append([])
        self.node.trigger_activate()


def still_node(
    context: Context, clock: Clock, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> ControlNode:
    """A node of these parameters whose loop does not tick, on the clock of a test."""
    monkeypatch.setattr(activation, "ControlLoop", StillLoop)
    monkeypatch.setattr(ControlNode, "get_clock", lambda _: clock)
    return ControlNode(context=context, parameter_overrides=overrides(values))
