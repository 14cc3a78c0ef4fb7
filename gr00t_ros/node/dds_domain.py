# SPDX-License-Identifier: Apache-2.0
"""A DDS domain for each demo, evaluation and test process, so that they do not mix. Pure."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

# Above 101 the domain's ports run into those that Linux hands out (docs.ros.org, "ROS_DOMAIN_ID");
# 0 is everybody's, and low ones are chosen by hand.
DOMAINS = range(101, 0, -1)
FIRST_PORT, PORTS = 7400, 250  # of domain 0, and of each domain (DDSI-RTPS 2.5, 9.6.2.3)
SHARED_MEMORY = Path("/dev/shm")
INITIALIZED = (2).to_bytes(4, "little")  # how boost::interprocess begins a segment that is complete


def reserve_domain(domains: Sequence[int] = ()) -> tuple[int, IO[str]]:
    """Reserve a domain, for as long as the file is open, that nobody else on this machine has.

    What a process that was killed has left of its ports there is removed.

    Args:
        domains: Those to choose from, the first free one; all of `DOMAINS` if empty.

    Returns:
        The domain's number, and the file that keeps it.

    Raises:
        RuntimeError: All of them are taken.
    """
    choice = domains or DOMAINS
    for domain in choice:
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
        _remove_incomplete_ports(domain)
        return domain, file
    raise RuntimeError(f"all DDS domains of {choice} are taken")


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


def _remove_incomplete_ports(domain: int) -> None:
    """Remove the ports in shared memory whose making was cut off.

    Fast DDS waits for the end of their making, for ever: no process with such a port would start.
    """
    first = FIRST_PORT + PORTS * domain
    for name in ("fastdds_port", "fastrtps_port"):
        for port in range(first, first + PORTS):
            path = SHARED_MEMORY / f"{name}{port}"
            with contextlib.suppress(OSError):  # it is not there, or another user's
                with open(path, "rb") as file:
                    is_complete = file.read(len(INITIALIZED)) == INITIALIZED
                if not is_complete:
                    path.unlink()
