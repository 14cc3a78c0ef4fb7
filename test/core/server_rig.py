# SPDX-License-Identifier: Apache-2.0
"""A server of a toy policy, what it says of itself, and waiting for what it does."""

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from toy_policy import ToyPolicy

from gr00t_policy_core import PolicyServer

RUNNING = {"status": "ok", "message": "Server is running"}


@contextlib.contextmanager
def serving(policy: Any = None, **settings: Any) -> Iterator[PolicyServer]:
    """A running server of a `ToyPolicy`, or of another."""
    with PolicyServer(policy or ToyPolicy(), host="127.0.0.1", port=0, **settings) as running:
        yield running


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for a condition, and fail where it does not come."""
    ends_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_at:
            pytest.fail(f"not within {timeout_s} s: {condition}")
        time.sleep(0.005)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that no other test gets.

    It lies below the ports that a system gives to those who ask for any: none of the other tests'
    servers comes to listen there, and no client connects to itself.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
