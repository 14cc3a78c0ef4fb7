# SPDX-License-Identifier: Apache-2.0
"""What the ROS tests share beside the fixtures of conftest.py."""

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> None:
    """Returns as soon as `predicate()` is true; AssertionError when it is not within `timeout_s`.

    `what` says in the error what was waited for. The deadline only ends a broken test: make it
    long, a passing test never waits for it.
    """
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or predicate}")
        time.sleep(0.01)
