# SPDX-License-Identifier: Apache-2.0
"""Where a server can listen: all interfaces, one of them by name or address, a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct

from gr00t_policy_core.errors import AddressError
from gr00t_policy_core.serving.transport import addresses

ANY_INTERFACE = "*"
_SIOCGIFADDR = 0x8915  # netdevice(7): the IPv4 address of an interface
_IFREQ_BYTES = 40
_MAX_NAME_BYTES = 15
_IFREQ_ADDRESS = slice(20, 24)


def bind_candidates(host: str) -> list[tuple[str, bool]]:
    """The addresses to try to bind, in order, and whether each is IPv6.

    Args:
        host: ``"*"``, which stands for itself in the result; or the name or address of this
            machine or of an interface.
    """
    if not host or "\0" in host:
        return []
    if host == ANY_INTERFACE:
        return [(ANY_INTERFACE, True), (ANY_INTERFACE, False)]
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [(_interface_address(host) or host, False)]
    # IPv4 first: clients of Isaac-GR00T connect over it.
    by_family = sorted({(info[0] == socket.AF_INET6, str(info[4][0])) for info in found})
    return [(address, ipv6) for ipv6, address in by_family]


def bind_error(host: str, port: int, error: Exception | None) -> AddressError:
    """The error that says why the server cannot listen."""
    where = addresses.name(host, port)
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return AddressError(
            f"cannot listen on {where}: another program does already; stop it, or choose "
            "another port (0 picks a free one)"
        )
    why = "it is not a host" if error is None else getattr(error, "strerror", None) or error
    return AddressError(
        f"cannot listen on {where}: {why}; the host must be '*', an address of this machine, "
        "or ipc:// and a path in an existing folder"
    )


def check_ipc_is_free(host: str) -> None:
    """Check that a Unix socket neither belongs to a running server nor replaces a file.

    Raises:
        AddressError: The path is not valid for a socket, or it is in use.
    """
    path = host[len(addresses.IPC) :]
    problems = addresses.ipc_problems(host)
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        problems = [f"{path} exists and is not a socket"]
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if not problems and probe.connect_ex(path) in (0, errno.EAGAIN):  # EAGAIN: it is busy
            problems = ["another program does already; stop it, or choose another path"]
    if problems:
        raise AddressError(f"cannot listen on {host}: {problems[0]}")


class IpcSocketFile:
    """The file of a Unix socket that this process has bound.

    Args:
        host: The Unix socket, as ``ipc://`` and its path.

    Raises:
        OSError: There is no such file.
    """

    def __init__(self, host: str) -> None:
        self._path = host[len(addresses.IPC) :]
        self._id = self._read_id()

    def remove(self) -> None:
        """Remove the file, unless a successor of this server has bound the path by now."""
        with contextlib.suppress(FileNotFoundError):
            if self._read_id() == self._id:
                os.unlink(self._path)

    def _read_id(self) -> tuple[int, int]:
        # No other file has the same numbers while a socket is bound to this one.
        status = os.stat(self._path)
        return status.st_dev, status.st_ino


def _interface_address(name: str) -> str | None:
    """The IPv4 address of a network interface."""
    import fcntl  # not on every system that has clients

    request = name.encode()
    if len(request) > _MAX_NAME_BYTES:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            reply = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack(f"{_IFREQ_BYTES}s", request))
        except OSError:
            return None
    return socket.inet_ntoa(reply[_IFREQ_ADDRESS])
