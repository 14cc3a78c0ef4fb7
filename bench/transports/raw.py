# SPDX-License-Identifier: Apache-2.0
"""The bound: a plain TCP socket that moves the same bytes between buffers that are there already.

No format, no checks, no other client: what is slower than this is what a transport costs.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench import workload
from bench.transports import Ask, Ready, Transport
from bench.workload import DIMENSION, HORIZON, Size


def _empty_observation(size: Size) -> dict[str, Any]:
    observation = workload.make_observation(size, seed=0)
    for array in _arrays(observation):
        array.fill(0)
    return observation


def _arrays(observation: dict[str, Any]) -> list[Any]:
    return [*observation["video"].values(), *observation["state"].values()]


def _fill(connection: socket.socket, array: Any) -> bool:
    """Receive as many bytes as the array has; False where the peer has gone."""
    view = memoryview(array).cast("B")
    while view:
        received = connection.recv_into(view)
        if not received:
            return False
        view = view[received:]
    return True


class RawTcp(Transport):
    def serve(self, size: Size, ready: Ready) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ready(listener.getsockname()[1])
            connection, _ = listener.accept()
        observation = _empty_observation(size)
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while all(_fill(connection, array) for array in _arrays(observation)):
                connection.sendall(workload.answer(observation))

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        with socket.create_connection(("127.0.0.1", int(address))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            chunk = np.empty((1, HORIZON, DIMENSION), np.float32)

            def ask(observation: dict[str, Any]) -> Any:
                for array in _arrays(observation):
                    connection.sendall(array)
                if not _fill(connection, chunk):
                    raise ConnectionError("the server has gone")
                return chunk

            yield ask


TCP = RawTcp()
