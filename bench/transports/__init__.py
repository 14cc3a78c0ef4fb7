# SPDX-License-Identifier: Apache-2.0
"""The ways from a robot to a policy that are compared.

A new one is a class with `serve` and `connect` (see `Transport`) and a line in `TRANSPORTS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.workload import Size

Ask: TypeAlias = Callable[[dict[str, Any]], NDArray[np.float32]]
Ready: TypeAlias = Callable[[object], None]

# By name: the module and the object in it. Modules are imported in the processes that need them.
TRANSPORTS = {
    "ours-tcp": "ours:TCP",
    "ours-ipc": "ours:IPC",
    "ours-curve": "ours:CURVE",
    "ours-jpeg": "ours_jpeg:JPEG",
    "n1d6-tcp": "isaac_gr00t:N1D6",
    "n1d7-tcp": "isaac_gr00t:N1D7",
    "n1d6-client-on-ours": "isaac_gr00t:N1D6_CLIENT_ON_OURS",
    "n1d7-client-on-ours": "isaac_gr00t:N1D7_CLIENT_ON_OURS",
    "openpi-websockets": "openpi:WEBSOCKETS",
    "lerobot-grpc": "lerobot:GRPC",
    "raw-tcp": "raw:TCP",
}


class Transport(Protocol):
    """One way to carry observations; its two halves run in processes of their own."""

    def serve(self, size: Size, ready: Ready) -> None:
        """Listen on a free loopback address, tell it to `ready`, and answer until killed."""

    def connect(self, size: Size, address: str) -> AbstractContextManager[Ask]:
        """A connected client: a function that sends one observation and returns its chunk."""

    def arriving(self, observation: dict[str, Any]) -> dict[str, Any]:
        """What the server gets to see of an observation: all of it, where nothing is lost."""
        return observation


def find(name: str) -> Transport:
    """The transport of that name.

    Raises:
        ImportError: It needs a package that is not installed.
    """
    module, _, attribute = TRANSPORTS[name].partition(":")
    transport: Transport = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    return transport
