# SPDX-License-Identifier: Apache-2.0
"""A DDS domain of one's own: two demos, or tests side by side, must not hear each other. Pure."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import IO

# Above 101 the domain's ports run into those that Linux hands out (docs.ros.org, "ROS_DOMAIN_ID");
# 0 is everybody's.
DOMAINS = range(1, 102)


def reserve_domain() -> tuple[int, IO[str]]:
    """A domain that nobody else on this machine has reserved, for as long as the file is open.

    Returns:
        The domain's number, and the file that keeps it.

    Raises:
        RuntimeError: All of them are taken.
    """
    for domain in DOMAINS:
        file = Path(  # noqa: SIM115 - the reservation lasts while it is open
            tempfile.gettempdir(), f"gr00t_ros_test_domain_{domain}.lock"
        ).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return domain, file
    raise RuntimeError(f"all DDS domains of {DOMAINS} are taken")
