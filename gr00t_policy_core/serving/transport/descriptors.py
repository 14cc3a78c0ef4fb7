# SPDX-License-Identifier: Apache-2.0
"""How many file descriptors this process may have, and has."""

from __future__ import annotations

import contextlib
import os

RESERVED = 128  # for the policy, its files and libraries, and the log


def spare(wanted: int) -> int:
    """How many more descriptors sockets may take, of so many that are wanted.

    Raises the soft limit (``ulimit -n``) of this process as far as that needs and the hard limit
    allows. A part of the limit is left to everything else in the process.
    """
    try:
        import resource  # not on every system that has clients
    except ImportError:
        return wanted
    there = _open_ones()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = there + RESERVED + wanted
    if unlimited != soft < needed:
        raised = needed if hard == unlimited else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == unlimited:
        return wanted
    return max(1, min(wanted, soft - there - min(RESERVED, soft // 4)))


def _open_ones() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))
    return 0
