# SPDX-License-Identifier: Apache-2.0
"""External reasons that forbid motion: a stop, the enable signal, a missing part."""

from __future__ import annotations


class MotionGate:
    """Says why the robot may not be moved now; safe between threads.

    A stop is in force until `start`. All times are of one monotonic clock.
    """

    def __init__(self) -> None:
        self._enable_timeout_ns: int | None = None
        self._enabled_ns: int | None = None
        self._stopped = ""
        self._blocked: dict[str, str] = {}

    def require_enable(self, timeout_ns: int | None) -> None:
        """Set whether the robot has an enable signal; the signal counts as off until it arrives.

        Args:
            timeout_ns: An enable signal older than this counts as off, ns; None where the robot has
                no such signal.
        """
        self._enable_timeout_ns = timeout_ns
        self._enabled_ns = None

    def stop(self, reason: str) -> None:
        """Forbid motion until `start`."""
        self._stopped = reason

    def start(self) -> None:
        """Lift the stop. Motion stays forbidden for any other reason."""
        self._stopped = ""

    def block(self, source: str, reason: str) -> None:
        """Forbid motion for a reason that `start` does not lift.

        Args:
            source: What the reason is about; each source has one reason at most.
            reason: Why motion is forbidden; empty allows it again.
        """
        self._blocked = {**self._blocked, source: reason}

    def enable(self, enabled: bool, now_ns: int) -> None:
        """Store the enable signal.

        Args:
            enabled: Whether the operator allows motion.
            now_ns: When the signal came in, ns.
        """
        self._enabled_ns = now_ns if enabled else None

    def reason(self, now_ns: int) -> str:
        """Why the robot may not be moved; empty where it may."""
        if self._stopped:
            return self._stopped
        blocked = next(filter(None, self._blocked.values()), "")
        return blocked or self._enable_reason(now_ns)

    def _enable_reason(self, now_ns: int) -> str:
        timeout_ns, enabled_ns = self._enable_timeout_ns, self._enabled_ns
        if timeout_ns is None:
            return ""
        if enabled_ns is None:
            return "the enable signal is off"
        if now_ns - enabled_ns > timeout_ns:
            return f"the enable signal is {(now_ns - enabled_ns) * 1e-9:.2f} s old"
        return ""
