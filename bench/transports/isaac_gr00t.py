# SPDX-License-Identifier: Apache-2.0
"""Isaac-GR00T's own manner, both lines: a REQ client, a REP server, whole messages as bytes.

N1.6 (and N1.7 until May 2026) writes arrays with np.save into a BytesIO, N1.7 since then with
msgpack-numpy, behind a check that refuses object arrays.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import zmq

from bench import workload
from bench.transports import Ask, Ready, Transport
from bench.transports.ours import OursTcp
from bench.workload import STATE_KEY, Size

TIMEOUT_MS = 15_000


@dataclass(frozen=True, slots=True)
class Line:
    """How one line turns messages into bytes and back."""

    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


def _npy_encode(obj: Any) -> Any:
    if isinstance(obj, np.ndarray):
        npy = io.BytesIO()
        np.save(npy, obj, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": npy.getvalue()}
    return obj


def _npy_decode(obj: dict[Any, Any]) -> Any:
    if "__ndarray_class__" in obj:
        return np.load(io.BytesIO(obj["as_npy"]), allow_pickle=False)
    return obj


def _nd_encode(obj: Any) -> Any:
    if isinstance(obj, np.ndarray) and obj.dtype.kind == "O":
        raise TypeError("object arrays are refused")
    return msgpack_numpy.encode(obj)


def _nd_decode(obj: dict[Any, Any]) -> Any:
    kind = obj.get(b"kind", obj.get("kind"))
    if obj.get(b"nd", obj.get("nd")) and kind in (b"O", "O"):
        raise ValueError("object arrays are refused")
    return msgpack_numpy.decode(obj)


_N1D6 = Line(
    pack=lambda data: msgpack.packb(data, default=_npy_encode),
    unpack=lambda message: msgpack.unpackb(message, object_hook=_npy_decode),
)
_N1D7 = Line(
    pack=lambda data: msgpack.packb(data, default=_nd_encode),
    unpack=lambda message: msgpack.unpackb(message, object_hook=_nd_decode, raw=False),
)


@contextmanager
def _stock_client(line: Line, address: str) -> Iterator[Ask]:
    with zmq.Context() as context, context.socket(zmq.REQ) as requests:
        requests.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        requests.setsockopt(zmq.SNDTIMEO, TIMEOUT_MS)
        requests.setsockopt(zmq.LINGER, 0)
        requests.connect(f"tcp://127.0.0.1:{address}")

        def ask(observation: dict[str, Any]) -> Any:
            data = {"observation": observation, "options": None}
            requests.send(line.pack({"endpoint": "get_action", "data": data}))
            response = line.unpack(requests.recv())
            if isinstance(response, dict) and "error" in response:
                raise RuntimeError(f"server error: {response['error']}")
            action, _info = response
            return action[STATE_KEY]

        yield ask


def _get_action(observation: dict[str, Any], options: Any = None) -> tuple[Any, dict[str, Any]]:
    return {STATE_KEY: workload.answer(observation)}, {}


@dataclass(frozen=True, slots=True)
class StockPair(Transport):
    """Stock client, stock server."""

    line: Line

    def serve(self, size: Size, ready: Ready) -> None:
        handlers = {"get_action": _get_action}
        with zmq.Context() as context, context.socket(zmq.REP) as replies:
            ready(replies.bind_to_random_port("tcp://127.0.0.1"))
            while True:
                request = self.line.unpack(replies.recv())
                handler = handlers[request.get("endpoint", "get_action")]
                replies.send(self.line.pack(handler(**request.get("data", {}))))

    def connect(self, size: Size, address: str) -> Any:
        return _stock_client(self.line, address)


class StockClientOnOurs(OursTcp):
    """Stock client, our server."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def connect(self, size: Size, address: str) -> Any:
        return _stock_client(self.line, address)


N1D6 = StockPair(_N1D6)
N1D7 = StockPair(_N1D7)
N1D6_CLIENT_ON_OURS = StockClientOnOurs(_N1D6)
N1D7_CLIENT_ON_OURS = StockClientOnOurs(_N1D7)
