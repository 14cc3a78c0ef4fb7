# SPDX-License-Identifier: Apache-2.0
"""The time of a measurement, and whether it can be true. Pure."""

from __future__ import annotations

from typing import Any


def stamp_ns(message: Any, now_ns: int) -> int:
    """Return the stamp in a message's header, ns; `now_ns` if it is missing or zero."""
    header = getattr(message, "header", None)
    if header is None or not (header.stamp.sec or header.stamp.nanosec):
        return now_ns
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def ahead_text(stamped_ns: int, now_ns: int, skew_ns: int) -> str:
    """Say how far a stamp lies ahead of a clock; empty where it may be true.

    Args:
        stamped_ns: The stamp, ns.
        now_ns: The present on the clock, ns; 0 where simulated time has not begun.
        skew_ns: How far a stamp may be ahead, ns.
    """
    if stamped_ns <= now_ns + skew_ns:
        return ""
    return f"by {(stamped_ns - now_ns) * 1e-9:.2f} s" if now_ns else "there is no /clock yet"
