# SPDX-License-Identifier: Apache-2.0
"""LeRobot's asynchronous inference's manner: gRPC, pickled observations streamed in 2 MB chunks.

As there, the client streams the observation with one call, while another one already waits for
the actions; the server hands over through a queue of one. Two things are simpler than there, and
cheaper: the messages are a byte and the data in place of protobuf, and actions are numpy rows
in place of torch tensors.
"""

from __future__ import annotations

import io
import json
import pickle  # LeRobot's format; both ends of this socket are ours
import queue
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from bench import workload
from bench.transports import Ask, Ready, Transport
from bench.workload import Size

SERVICE = "bench.AsyncInference"
CHUNK_BYTES = 2 * 1024 * 1024
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
BEGIN, MIDDLE, END = b"\x01", b"\x02", b"\x03"
RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "DEADLINE_EXCEEDED"],
}
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_retries", 1),
    (
        "grpc.service_config",
        json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRY_POLICY}]}),
    ),
]


@dataclass
class TimedObservation:
    timestamp: float
    timestep: int
    observation: dict[str, Any]
    must_go: bool = True


@dataclass
class TimedAction:
    timestamp: float
    timestep: int
    action: Any


def _in_chunks(message: bytes) -> Iterator[bytes]:
    reader = io.BytesIO(message)
    for start in range(0, len(message), CHUNK_BYTES):
        state = MIDDLE
        if start + CHUNK_BYTES >= len(message):
            state = END
        elif start == 0:
            state = BEGIN
        yield state + reader.read(CHUNK_BYTES)


def _from_chunks(chunks: Iterable[bytes]) -> bytes:
    whole = io.BytesIO()
    for chunk in chunks:
        whole.write(chunk[1:])
    return whole.getvalue()


class _Service:
    def __init__(self) -> None:
        self._observations: queue.Queue[TimedObservation] = queue.Queue(maxsize=1)

    def send_observations(self, chunks: Iterable[bytes], context: Any) -> bytes:
        self._observations.put(pickle.loads(_from_chunks(chunks)))  # noqa: S301
        return b""

    def get_actions(self, request: bytes, context: Any) -> bytes:
        observed = self._observations.get()
        chunk = workload.answer(observed.observation)[0]
        actions = [
            TimedAction(observed.timestamp, observed.timestep + step, action)
            for step, action in enumerate(chunk)
        ]
        return pickle.dumps(actions)


class LerobotGrpc(Transport):
    def serve(self, size: Size, ready: Ready) -> None:
        service = _Service()
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        handlers = {
            "SendObservations": grpc.stream_unary_rpc_method_handler(service.send_observations),
            "GetActions": grpc.unary_unary_rpc_method_handler(service.get_actions),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        ready(port)
        server.wait_for_termination()

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        with grpc.insecure_channel(f"127.0.0.1:{address}", CHANNEL_OPTIONS) as channel:
            send_observations = channel.stream_unary(f"/{SERVICE}/SendObservations")
            get_actions = channel.unary_unary(f"/{SERVICE}/GetActions")

            def ask(observation: dict[str, Any]) -> Any:
                waiting = get_actions.future(b"")
                timed = TimedObservation(time.time(), 0, observation)
                send_observations(_in_chunks(pickle.dumps(timed)))
                actions = pickle.loads(waiting.result())  # noqa: S301
                return np.stack([timed.action for timed in actions])[None]

            yield ask


GRPC = LerobotGrpc()
