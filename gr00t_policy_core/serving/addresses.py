# SPDX-License-Identifier: Apache-2.0
"""Where a server is: a host and a TCP port, or a Unix socket of this machine (``ipc:///path``)."""

from __future__ import annotations

IPC = "ipc://"
MAX_IPC_PATH_BYTES = 107  # what Linux holds in a socket's address (unix(7)), less the last zero


def is_ipc(host: str) -> bool:
    """Whether a host is a Unix socket; there is no port then."""
    return host.startswith(IPC)


def name(host: str, port: int) -> str:
    """A server in messages to people: ``host:port``, ``[::1]:port``, or ``ipc:///path``."""
    if is_ipc(host):
        return host
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


def url(host: str, port: int) -> str:
    """A server as ZeroMQ connects to it."""
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
