# SPDX-License-Identifier: Apache-2.0
"""A DDS domain for each demo, evaluation and test process, so that they do not mix. Pure."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# Above 101 the domain's ports run into those that Linux hands out (docs.ros.org, "ROS_DOMAIN_ID");
# 0 is everybody's, and low ones are chosen by hand.
DOMAINS = range(101, 0, -1)


def reserve_domain() -> tuple[int, IO[str]]:
    """Reserve a domain, for as long as the file is open, that nobody else on this machine has.

    Returns:
        The domain's number, and the file that keeps it.

    Raises:
        RuntimeError: All of them are taken.
    """
    for domain in DOMAINS:
        path = Path(tempfile.gettempdir(), f"gr00t_ros_domain_{domain}.lock")
        try:
            file = path.open("a")
        except PermissionError:  # another user's, who may be using it
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return domain, file
    raise RuntimeError(f"all DDS domains of {DOMAINS} are taken")


@contextlib.contextmanager
def own_domain() -> Iterator[str]:
    """The domain of the environment, or else one that nobody else on this machine has.

    Raises:
        RuntimeError: All of them are taken.
    """
    given = os.environ.get("ROS_DOMAIN_ID")
    if given:
        yield given
        return
    domain, lock = reserve_domain()
    with lock:
        yield str(domain)
