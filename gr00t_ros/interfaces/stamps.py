# SPDX-License-Identifier: Apache-2.0
"""The time of a measurement. Pure."""

from __future__ import annotations

from typing import Any


def stamp_ns(message: Any, now_ns: int) -> int:
    """Return the stamp in a message's header, ns; `now_ns` if it is missing or zero."""
    header = getattr(message, "header", None)
    if header is None or not (header.stamp.sec or header.stamp.nanosec):
        return now_ns
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
