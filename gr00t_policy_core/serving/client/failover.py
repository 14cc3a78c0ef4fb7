# SPDX-License-Identifier: Apache-2.0
"""Several servers for one client: the first that answers, and back to the first when it returns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import msgpack

from gr00t_policy_core.errors import ClosedError, PolicyError, PolicyTimeoutError
from gr00t_policy_core.serving.client.connection import Connection, Link, ServerChangedError
from gr00t_policy_core.serving.transport.addresses import is_ipc
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.transport.forks import forget_in_children

logger = logging.getLogger(__name__)

PROBE_S = 1.0  # longest wait for a server to show that it is there, before the next one is tried
RETURN_S = 2.0  # between questions to an earlier server whether it is back
READY, LOADING = "ready", "loading"  # as servers say it
SILENT = "gives no answer"


class Failover:
    """Sends each request to the first server that answers; used as a `Connection` is.

    A server must answer a ping before it gets a request, and again after it has failed. While a
    later one serves, the earlier ones are asked again every `RETURN_S` seconds, in a thread of
    their own, so that no request waits for them.

    Args:
        connections: In order of preference.
        token: Of the servers; None for none.
    """

    def __init__(self, connections: Sequence[Connection], token: str | None) -> None:
        self._connections = list(connections)
        self._ping = _ping(token)
        self._current: int | None = None
        self._returned: int | None = None  # set by the watching thread, taken by the next request
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._watching: threading.Thread | None = None
        forget_in_children(self)

    @property
    def server(self) -> str:
        """The address of the one that is asked, for errors."""
        return self._connections[self._current or 0].server

    def exchange(
        self,
        endpoint: str,
        request: Sequence[Any],
        deadline: Deadline,
        link: Link | None = None,
    ) -> memoryview:
        """Send a request to the server of now; see `Connection.exchange`.

        Raises:
            PolicyTimeoutError: None answers, or the one that was asked did not in time; the next
                request then goes to another.
        """
        if not self._turn.acquire(timeout=deadline.remaining_s):
            raise PolicyTimeoutError(
                f"{self.server} {endpoint}: no answer within {deadline.timeout_ms} ms "
                "(another thread's request is in progress)"
            )
        try:
            index = self._choose(endpoint, deadline)
            try:
                return self._connections[index].exchange(endpoint, request, deadline, link)
            except ServerChangedError:
                raise
            except BaseException:
                self._current = None
                raise
        finally:
            self._turn.release()

    def close(self) -> None:
        self._closed.set()
        for connection in self._connections:
            connection.close()

    def forget(self) -> None:
        """In a forked child: choose a server anew, and watch with a thread of its own."""
        self._turn = threading.Lock()
        self._current = self._returned = self._watching = None

    def _choose(self, endpoint: str, deadline: Deadline) -> int:
        if self._returned is not None:
            self._use(self._returned)
            self._returned = None
        if self._current is not None:
            return self._current
        states: list[str] = []
        for index, connection in enumerate(self._connections):
            left = len(self._connections) - index
            wait_ms = min(PROBE_S * 1000, deadline.remaining_ms / (left + 1))
            states.append(self._state_of(connection, wait_ms) if wait_ms > 0 else SILENT)
            if states[-1] == READY:
                self._use(index)
                return index
        awake = [index for index, state in enumerate(states) if state != SILENT]
        if endpoint == "ping" and awake:  # who asks how far they are is told so
            return min(awake, key=lambda index: states[index] != LOADING)
        known = ", ".join(
            f"{connection.server} {state}"
            for connection, state in zip(self._connections, states, strict=True)
        )
        raise PolicyTimeoutError(
            f"{endpoint}: no server is ready within {deadline.timeout_ms} ms ({known})"
        )

    def _use(self, index: int) -> None:
        if index != self._current:
            logger.info("asking %s from now on", self._connections[index].server)
            self._current = index
        if index and self._watching is None:
            self._watching = threading.Thread(target=self._watch, daemon=True)
            self._watching.start()

    def _state_of(self, connection: Connection, timeout_ms: float) -> str:
        """What a server says of itself."""
        try:
            reply = connection.exchange("ping", [self._ping], Deadline(timeout_ms))
            fields = msgpack.unpackb(reply)
        except ClosedError:
            raise
        except (PolicyError, ValueError):
            return SILENT
        return str(fields.get("state", READY)) if isinstance(fields, dict) else SILENT

    def _watch(self) -> None:
        """Ask earlier servers whether they are back, until the first one is."""
        feelers = [connection.another() for connection in self._connections]
        while not self._closed.wait(RETURN_S):
            serving = self._current
            for index in range(serving or 0):
                if self._state_of(feelers[index], PROBE_S * 1000) == READY:
                    self._returned = index
                    break
        for feeler in feelers:
            feeler.close()


def _ping(token: str | None) -> bytes:
    fields = {"endpoint": "ping", **({"api_token": token} if token else {})}
    packed: bytes = msgpack.packb(fields)
    return packed


def parse_hosts(hosts: Sequence[str], port: int) -> list[tuple[str, int]]:
    """Split ``"host:port"``; without a port it is `port`. IPv6 addresses need brackets for one.

    Raises:
        ValueError: A port that is no number.
    """
    found = []
    for host in hosts:
        name, colon, number = host.rpartition(":")
        if is_ipc(host) or not colon or (":" in name and not name.endswith("]")):
            found.append((host, port))
        elif number.isdecimal():
            found.append((name, int(number)))
        else:
            raise ValueError(f'{host!r} is neither "host" nor "host:port"')
    return found
