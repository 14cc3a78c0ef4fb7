# SPDX-License-Identifier: Apache-2.0
"""The open connections of a server: their limits, and the choice of one to evict."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from gr00t_policy_core.serving.transport import file_descriptors
from gr00t_policy_core.serving.transport.base import LINGER_S
from gr00t_policy_core.serving.transport.tcp_server_connection import ServerConnection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of clients of a server in plain text.

    Args:
        message_bytes: A client that announces a larger frame is disconnected; a message whose
            frames are larger together is refused.
        receiving_bytes: The bytes of all messages together that are being received.
        connections: Open connections; fewer if the process cannot have as many file descriptors.
        per_address: Open connections from one address.
    """

    message_bytes: int
    receiving_bytes: int
    connections: int
    per_address: int


class ConnectionTable:
    """Connections by name. One thread adds them; each connection's own thread removes it.

    Args:
        limits: How many connections there can be.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._max_connections = file_descriptors.reserve(limits.connections)
        self._max_per_address = limits.per_address
        self._connections: dict[bytes, ServerConnection] = {}
        if self._max_connections < limits.connections:
            logger.warning(
                "at most %d clients can be connected at once, not %d: this process may have no "
                "more descriptors (raise ulimit -n, or LimitNOFILE)",
                self._max_connections,
                limits.connections,
            )

    def find(self, name: bytes) -> ServerConnection | None:
        """Return the connection of that name; None if it has ended."""
        return self._connections.get(name)

    def all(self) -> list[ServerConnection]:
        """All open connections."""
        return list(self._connections.values())

    def add(self, connection: ServerConnection) -> None:
        self._connections[connection.name] = connection

    def remove(self, connection: ServerConnection) -> None:
        del self._connections[connection.name]

    def make_room(self, address: str) -> None:
        """Evict a connection where the limits leave no room for another one from an address."""
        connections = self.all()
        neighbours = [c for c in connections if c.sender.address == address]
        if len(neighbours) >= self._max_per_address:
            self._evict_from(neighbours, f"its address has {len(neighbours)} connections")
        elif len(connections) >= self._max_connections:
            self._evict_from(connections, f"{len(connections)} clients are connected")

    def evict_one(self, why: str) -> bool:
        """Evict a connection because the system has no room; False if there is none."""
        connections = self.all()
        if connections:
            self._evict_from(connections, why)
        return bool(connections)

    def _evict_from(self, connections: list[ServerConnection], why: str) -> None:
        """Evict the connection with the lowest eviction rank."""
        connections_at = Counter(connection.sender.address for connection in connections)

        def rank(connection: ServerConnection) -> tuple[bool, bool, int, bool, float]:
            activity = connection.activity
            sender = connection.sender
            return (
                activity.has_shaken_hands,
                sender.authenticated,
                -connections_at[sender.address],
                activity.is_busy,
                activity.last_message_s,
            )

        evicted = min(connections, key=rank)
        logger.debug("%s is disconnected: %s", evicted.peer, why)
        evicted.end(at_once=True)
        evicted.join(LINGER_S)
