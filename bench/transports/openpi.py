# SPDX-License-Identifier: Apache-2.0
"""openpi's manner: msgpack over websockets, an asyncio server and a blocking client.

As there, arrays become maps with their bytes, compression is off and sizes are unlimited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.sync.client import connect

from bench import workload
from bench.transports import Ask, Ready, Transport
from bench.workload import STATE_KEY, Size


def _encode(obj: Any) -> Any:
    if isinstance(obj, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": obj.tobytes(),
            b"dtype": obj.dtype.str,
            b"shape": obj.shape,
        }
    return obj


def _decode(obj: dict[Any, Any]) -> Any:
    if b"__ndarray__" in obj:
        return np.ndarray(buffer=obj[b"data"], dtype=np.dtype(obj[b"dtype"]), shape=obj[b"shape"])
    return obj


def _unpack(message: Any) -> Any:
    return msgpack.unpackb(message, object_hook=_decode)


async def _answer_all(connection: ServerConnection) -> None:
    packer = msgpack.Packer(default=_encode)
    await connection.send(packer.pack({}))  # the policy's metadata
    async for message in connection:
        action = {STATE_KEY: workload.answer(_unpack(message))}
        await connection.send(packer.pack(action))


class OpenpiWebsockets(Transport):
    def serve(self, size: Size, ready: Ready) -> None:
        async def run() -> None:
            settings: dict[str, Any] = {"compression": None, "max_size": None}
            async with serve(_answer_all, "127.0.0.1", 0, **settings) as server:
                ready(next(iter(server.sockets)).getsockname()[1])
                await server.serve_forever()

        asyncio.run(run())

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        packer = msgpack.Packer(default=_encode)
        url = f"ws://127.0.0.1:{address}"
        with connect(url, compression=None, max_size=None, proxy=None) as connection:
            connection.recv()  # the policy's metadata

            def ask(observation: dict[str, Any]) -> Any:
                connection.send(packer.pack(observation))
                return _unpack(connection.recv())[STATE_KEY]

            yield ask


WEBSOCKETS = OpenpiWebsockets()
