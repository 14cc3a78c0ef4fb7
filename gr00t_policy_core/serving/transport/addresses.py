# SPDX-License-Identifier: Apache-2.0
"""Addresses of servers: a host and a TCP port, or a Unix socket of this machine (``ipc:///path``)."""

from __future__ import annotations

import ipaddress

IPC = "ipc://"
IPC_PEER = "localhost:"  # libzmq names a client of a Unix socket "localhost:UID:GID:PID"
MAX_IPC_PATH_BYTES = 107  # of a socket address in Linux (unix(7)), less the final zero


def is_ipc(host: str) -> bool:
    """Whether a host is a Unix socket, which has no port."""
    return host.startswith(IPC)


def name(host: str, port: int) -> str:
    """A server in texts for people: ``host:port``, ``[::1]:port``, or ``ipc:///path``."""
    if is_ipc(host):
        return host
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


def url(host: str, port: int) -> str:
    """The URL that ZeroMQ connects to."""
    return host if is_ipc(host) else f"tcp://{name(host, port)}"


def ipc_problems(host: str) -> list[str]:
    """What is wrong with the path of a Unix socket."""
    path = host[len(IPC) :]
    if "\0" in path:
        return [f"host must have a path without zeros, got {host!r}"]
    if not path.startswith("/"):
        return [f"host must have a whole path after {IPC}, as ipc:///run/gr00t.sock, got {host!r}"]
    if len(path.encode()) > MAX_IPC_PATH_BYTES:
        return [
            f"host has a path of over {MAX_IPC_PATH_BYTES} bytes, too long for a socket: {host!r}"
        ]
    return []


def is_loopback(host: str) -> bool:
    """Whether only this machine can use an address."""
    if is_ipc(host) or host.startswith(IPC_PEER):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 peer of a socket for both
    return (mapped or address).is_loopback


def machine(peer: str) -> str:
    """The machine that a client belongs to; its connections share the limits for one address.

    Args:
        peer: A network address, or the client of a Unix socket.

    Returns:
        An IPv4 address; the first 64 bits of an IPv6 address, since one machine has all addresses
        that begin with them; anything else unchanged.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
