# SPDX-License-Identifier: Apache-2.0
"""What the ROS tests share beside the fixtures of conftest.py."""

import contextlib
import random
import signal
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from rclpy.node import Node

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], object],
    timeout_s: float = 60.0,
    what: str = "",
    *,
    poll_s: float = 0.01,
) -> None:
    """Returns as soon as `predicate()` is true; AssertionError when it is not within `timeout_s`.

    `what` says in the error what was waited for. The deadline only ends a broken test: make it
    long, a passing test never waits for it.
    """
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or predicate}")
        time.sleep(poll_s)


def call_in_its_thread(node: Node, callback: Callable[[], T]) -> T:
    """Calls something in the thread that spins a node, between its callbacks.

    An action client is made so: the rclpy of Kilted adds it to its node before it is complete, and
    a thread that takes it up then ends.
    """
    assert node.executor is not None
    called = node.executor.create_task(callback)
    wait_until(called.done, what="the node's thread calls it")
    return called.result()


def wait_for_log(capfd: pytest.CaptureFixture[str], text: str, timeout_s: float = 60.0) -> None:
    """Returns as soon as stderr has said `text`, since `capfd` was last read."""
    told: list[str] = []

    def is_told() -> bool:
        told.append(capfd.readouterr().err)
        return text in "".join(told)

    wait_until(is_told, timeout_s, f"{text!r} in the log")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that no other test gets.

    It lies below the ports that a system gives to those who ask for any: none of the other tests'
    servers comes to listen there, and no client connects to itself.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def require_within(
    commands: np.ndarray, *, velocity: float, acceleration: float, jerk: float, period_s: float
) -> None:
    """The differences of commands (n,), a control period apart each, keep the limits."""
    assert np.isfinite(commands).all()
    rounding = 8.0 * np.finfo(float).eps * (np.abs(commands).max(initial=0.0) + 1.0)
    for order, limit in enumerate((velocity, acceleration, jerk), start=1):
        largest = np.abs(np.diff(commands, order)).max(initial=0.0)
        allowed = limit * period_s**order * (1.0 + 1e-9) + rounding
        assert largest <= allowed, f"derivative {order}: {largest / allowed:.3f} of its limit"


def heed_ctrl_c() -> None:
    """Run in a child before its program: where a shell runs the tests in the background, all
    processes ignore Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
