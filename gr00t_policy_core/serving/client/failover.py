# SPDX-License-Identifier: Apache-2.0
"""Failover between several servers: the first that is ready, and back to an earlier one later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import msgpack

from gr00t_policy_core.errors import ClosedError, PolicyError, PolicyTimeoutError
from gr00t_policy_core.serving.client.connection import (
    Connection,
    ConnectionPin,
    ServerChangedError,
)
from gr00t_policy_core.serving.client.fork_safety import reset_in_forked_children
from gr00t_policy_core.serving.transport.deadline import Deadline

logger = logging.getLogger(__name__)

PROBE_S = 1.0  # longest wait for a server's reply to a ping, before the next server is tried
RETURN_S = 2.0  # between pings to the earlier servers while a later one is in use
READY, LOADING = "ready", "loading"  # states as servers report them
SILENT = "gives no answer"


class FailoverConnection:
    """Sends each request to the first server that is ready. See `RequestSender`.

    A server must answer a ping before it gets a request, and again after it has failed. While a
    later server is in use, a thread pings the earlier ones every `RETURN_S` seconds, so that no
    request waits for them.

    Args:
        connections: One for each server, the preferred one first.
        token: The API token of all servers; None for none.
    """

    def __init__(self, connections: Sequence[Connection], token: str | None) -> None:
        self._connections = list(connections)
        self._ping = _encode_ping(token)
        self._current: int | None = None
        self._recovered: int | None = None  # set by the thread, taken by the next request
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        reset_in_forked_children(self)

    @property
    def server(self) -> str:
        """The address of the server in use, for errors."""
        return self._connections[self._current or 0].server

    def exchange(
        self,
        endpoint: str,
        request: Sequence[Any],
        deadline: Deadline,
        pin: ConnectionPin | None = None,
    ) -> memoryview:
        """See `RequestSender`.

        Raises:
            PolicyTimeoutError: No server is ready, or the one in use did not reply in time; the
                next request then goes to another.
        """
        if not self._lock.acquire(timeout=deadline.remaining_s):
            raise PolicyTimeoutError(
                f"{self.server} {endpoint}: no answer within {deadline.timeout_ms:.0f} ms "
                "(another thread's request is in progress)"
            )
        try:
            index = self._choose(endpoint, deadline)
            try:
                return self._connections[index].exchange(endpoint, request, deadline, pin)
            except ServerChangedError:
                raise
            except BaseException:
                self._current = None
                raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """See `RequestSender`."""
        self._closed.set()
        for connection in self._connections:
            connection.close()

    def reset_after_fork(self) -> None:
        """See `ForkAware`: the child chooses a server again, and has a thread of its own."""
        self._lock = threading.Lock()
        self._current = self._recovered = self._thread = None

    def _choose(self, endpoint: str, deadline: Deadline) -> int:
        if self._recovered is not None:
            self._use(self._recovered)
            self._recovered = None
        if self._current is not None:
            return self._current
        states: list[str] = []
        for index, connection in enumerate(self._connections):
            servers_left = len(self._connections) - index
            wait_ms = min(PROBE_S * 1000, deadline.remaining_ms / (servers_left + 1))
            states.append(self._state_of(connection, wait_ms) if wait_ms > 0 else SILENT)
            if states[-1] == READY:
                self._use(index)
                return index
        alive = [index for index, state in enumerate(states) if state != SILENT]
        if endpoint == "ping" and alive:  # its reply reports any state
            return min(alive, key=lambda index: states[index] != LOADING)
        found = ", ".join(
            f"{connection.server} {state}"
            for connection, state in zip(self._connections, states, strict=True)
        )
        raise PolicyTimeoutError(
            f"{endpoint}: no server is ready within {deadline.timeout_ms:.0f} ms ({found})"
        )

    def _use(self, index: int) -> None:
        if index != self._current:
            logger.info("requests go to %s from now on", self._connections[index].server)
            self._current = index
        if index and self._thread is None:
            self._thread = threading.Thread(target=self._watch_earlier_servers, daemon=True)
            self._thread.start()

    def _state_of(self, connection: Connection, timeout_ms: float) -> str:
        """The state that a server reports."""
        try:
            reply = connection.exchange("ping", [self._ping], Deadline(timeout_ms))
            fields = msgpack.unpackb(reply)
        except ClosedError:
            raise
        except (PolicyError, ValueError):
            return SILENT
        return str(fields.get("state", READY)) if isinstance(fields, dict) else SILENT

    def _watch_earlier_servers(self) -> None:
        """Ping the servers before the one in use, on connections of their own."""
        probes = [connection.copy() for connection in self._connections]
        while not self._closed.wait(RETURN_S):
            for index in range(self._current or 0):
                if self._state_of(probes[index], PROBE_S * 1000) == READY:
                    self._recovered = index
                    break
        for probe in probes:
            probe.close()


def _encode_ping(token: str | None) -> bytes:
    fields = {"endpoint": "ping", **({"api_token": token} if token else {})}
    packed: bytes = msgpack.packb(fields)
    return packed
