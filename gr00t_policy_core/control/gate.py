# SPDX-License-Identifier: Apache-2.0
"""What allows the robot to move: no stop, the dead man's switch, and all that is needed."""

from __future__ import annotations


class MotionGate:
    """Says why the robot may not be moved now; safe between threads. Times are monotonic, ns.

    Args:
        enable_timeout_ns: An enable signal older than this counts as released, ns; None where the
            robot has no such signal.
    """

    def __init__(self, enable_timeout_ns: int | None) -> None:
        self._enable_timeout_ns = enable_timeout_ns
        self._enabled_ns: int | None = None
        self._stopped = ""
        self._lacking = ""

    def stop(self, reason: str) -> None:
        """Forbid motion until `start`."""
        self._stopped = reason

    def start(self) -> None:
        """Allow motion again, as far as the enable signal does."""
        self._stopped = ""

    def lack(self, reason: str) -> None:
        """Forbid motion for a reason that no `start` takes away, until it is empty."""
        self._lacking = reason

    def enable(self, enabled: bool, now_ns: int) -> None:
        """Take the enable signal."""
        self._enabled_ns = now_ns if enabled else None

    def reason(self, now_ns: int) -> str:
        """Why the robot may not be moved; empty where it may."""
        stopped, enabled_ns = self._stopped or self._lacking, self._enabled_ns
        if stopped or self._enable_timeout_ns is None:
            return stopped
        if enabled_ns is None:
            return "the enable signal is off"
        if now_ns - enabled_ns > self._enable_timeout_ns:
            return f"the enable signal is {(now_ns - enabled_ns) * 1e-9:.2f} s old"
        return ""
