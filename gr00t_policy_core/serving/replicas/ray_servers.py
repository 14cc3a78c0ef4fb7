# SPDX-License-Identifier: Apache-2.0
"""Notices the end of the two servers that Ray starts as children of this process."""

import contextlib
import os
from pathlib import Path

NAMES = ("gcs_server", "raylet")


def ended_server() -> str:
    """The name of one that has ended while Ray starts; empty where none has.

    Ray reaps its children only when it shuts down, so one that has ended is left as a zombie.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            head, _, rest = stat.read_text().rpartition(")")
            state, parent = rest.split()[:2]
            name = head.partition("(")[2]
            if state == "Z" and int(parent) == os.getpid() and name in NAMES:
                return name
    return ""
