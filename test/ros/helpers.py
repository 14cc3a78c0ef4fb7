# SPDX-License-Identifier: Apache-2.0
"""What the ROS tests share beside the fixtures of conftest.py."""

import time
from collections.abc import Callable

import numpy as np


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
