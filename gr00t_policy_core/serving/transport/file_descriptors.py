# SPDX-License-Identifier: Apache-2.0
"""The limit on open file descriptors of this process."""

from __future__ import annotations

import contextlib
import os

RESERVED = 128  # for the policy, its files and libraries, and the log


def reserve(wanted: int) -> int:
    """Make room for descriptors of sockets, and return how many there is room for.

    Raises the soft limit (``ulimit -n``) of this process as far as `wanted` needs and the hard
    limit allows. A part of the limit is left to everything else in the process.
    """
    try:
        import resource  # not on every system that has clients
    except ImportError:
        return wanted
    open_now = _count_open()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = open_now + RESERVED + wanted
    if unlimited != soft < needed:
        raised = needed if hard == unlimited else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == unlimited:
        return wanted
    return max(1, min(wanted, soft - open_now - min(RESERVED, soft // 4)))


def _count_open() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))
    return 0
