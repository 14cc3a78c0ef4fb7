# SPDX-License-Identifier: Apache-2.0
"""Where a server can listen: every interface, one of them by name or address, a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct

from gr00t_policy_core.errors import AddressError
from gr00t_policy_core.serving.transport import addresses

ANYWHERE = "*"
_SIOCGIFADDR = 0x8915  # netdevice(7): the IPv4 address of an interface
_IFREQ_BYTES = 40
_MAX_NAME_BYTES = 15
_IFREQ_ADDRESS = slice(20, 24)


def interfaces(host: str) -> list[tuple[str, bool]]:
    """The addresses to listen on, the first that can be bound, and whether each is IPv6.

    Args:
        host: ``"*"``, for which it is returned itself; the name or address of this machine or of
            an interface.
    """
    if not host or "\0" in host:
        return []
    if host == ANYWHERE:
        return [(ANYWHERE, True), (ANYWHERE, False)]
    bare = host.strip("[]")
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [(_interface_address(host) or host, False)]
    # IPv4 first: clients of Isaac-GR00T connect over it.
    by_family = sorted({(info[0] == socket.AF_INET6, str(info[4][0])) for info in found})
    return [(address, ipv6) for ipv6, address in by_family]


def check_free(host: str) -> None:
    """Refuse to take the Unix socket of a running server, or a file of another kind, away.

    Raises:
        AddressError: It is no path for a socket, or somebody uses it.
    """
    path = host[len(addresses.IPC) :]
    problems = addresses.ipc_problems(host)
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        problems = [f"{path} is there already, and is no socket"]
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if not problems and probe.connect_ex(path) in (0, errno.EAGAIN):  # EAGAIN: it is busy
            problems = ["another program does already; stop it, or choose another path"]
    if problems:
        raise AddressError(f"cannot listen on {host}: {problems[0]}")


def file_id(path: str) -> tuple[int, int]:
    """Which file is at a path; no other one has this while it is open, or a socket is bound to it.

    Raises:
        OSError: There is none.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino


def remove(path: str, own: tuple[int, int]) -> None:
    """Remove a server's own socket, unless its successor's is there by now."""
    with contextlib.suppress(FileNotFoundError):
        if file_id(path) == own:
            os.unlink(path)


def refused(host: str, port: int, error: Exception | None) -> AddressError:
    """The error that says why it is not possible to listen there."""
    where = addresses.name(host, port)
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return AddressError(
            f"cannot listen on {where}: another program does already; stop it, or choose "
            "another port (0 picks a free one)"
        )
    why = "that is no host" if error is None else getattr(error, "strerror", None) or error
    return AddressError(
        f"cannot listen on {where}: {why}; the host must be '*', an address of this machine, "
        "or ipc:// and a path whose folder is there"
    )


def _interface_address(name: str) -> str | None:
    """The IPv4 address of an interface, by its name."""
    import fcntl  # not on every system that has clients

    request = name.encode()
    if len(request) > _MAX_NAME_BYTES:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack(f"{_IFREQ_BYTES}s", request))
        except OSError:
            return None
    return socket.inet_ntoa(answer[_IFREQ_ADDRESS])
