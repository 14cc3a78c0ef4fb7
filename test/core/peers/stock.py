# SPDX-License-Identifier: Apache-2.0
"""A stock client and server on real sockets, without envelopes and with one dialect only."""

import threading
from typing import Any

import numpy as np
import zmq

from peers.lines import Line, PeerConfig

ACTION_HORIZON = 16


class StockClient:
    """A REQ socket; the reply is whatever the server sent, decoded by the line's own rules."""

    def __init__(
        self, line: Line, port: int, api_token: str | None = None, timeout_s: float = 10.0
    ) -> None:
        self.line = line
        self.api_token = api_token
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.RCVTIMEO, int(timeout_s * 1000))
        self._socket.setsockopt(zmq.SNDTIMEO, 10_000)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def call(self, endpoint: str | None, **entries: Any) -> Any:
        request = {**({} if endpoint is None else {"endpoint": endpoint}), **entries}
        if self.api_token:
            request["api_token"] = self.api_token
        return self.line.unpack(self.send(self.line.pack(request)))

    def send(self, *frames: bytes) -> bytes:
        self._socket.send_multipart(frames)
        return self._socket.recv()

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> "StockClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class StockServer:
    """A REP socket and one thread; answers as the reference server does, errors bare."""

    def __init__(self, line: Line, api_token: str | None = None, port: int = 0) -> None:
        self.line = line
        self.api_token = api_token
        self.requests: list[dict[str, Any]] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._endpoints = {
            "ping": lambda: {"status": "ok", "message": "Server is running"},
            "kill": self._stopping_set,
            "get_action": self._get_action,
            "reset": lambda options: {"options": options},
            "get_modality_config": self._configs,
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "StockServer":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        self._context.term()

    def _stopping_set(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._socket.poll(20):
                continue
            message = self._socket.recv()
            try:
                reply = self._answer(self.line.unpack(message))
            except Exception as error:
                reply = {"error": str(error)}
            self._socket.send(self.line.pack(reply))

    def _answer(self, request: dict[str, Any]) -> Any:
        self.requests.append(request)
        if self.api_token is not None and request.get("api_token") != self.api_token:
            return {"error": "Unauthorized: Invalid API token"}
        endpoint = request.get("endpoint", "get_action")
        if endpoint not in self._endpoints:
            raise ValueError(f"Unknown endpoint: {endpoint}")
        if endpoint in ("get_action", "reset"):
            return self._endpoints[endpoint](**request.get("data", {}))
        return self._endpoints[endpoint]()

    def _get_action(self, observation, options=None):
        state = observation["state"]
        for key, value in {**observation["video"], **state}.items():
            if not isinstance(value, np.ndarray):
                raise TypeError(f"{key} is a {type(value).__name__}, not an array")
        action = {key: np.repeat(value, ACTION_HORIZON, axis=1) for key, value in state.items()}
        return action, {"options": options}

    def _configs(self) -> dict[str, PeerConfig]:
        keys = ["single_arm", "gripper"]
        action = {"rep": "ABSOLUTE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None}
        return {
            "video": PeerConfig([0], ["front", "wrist"]),
            "state": PeerConfig([0], keys),
            "action": PeerConfig(list(range(ACTION_HORIZON)), keys, action_configs=[action] * 2),
            "language": PeerConfig([0], ["annotation.human.task_description"]),
        }
