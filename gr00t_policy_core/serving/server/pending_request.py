# SPDX-License-Identifier: Apache-2.0
"""Requests and replies, as they pass between the threads of the sockets and the policy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from gr00t_policy_core.serving.server.endpoints import Endpoint
from gr00t_policy_core.serving.transport.base import Message
from gr00t_policy_core.serving.wire.envelope import Request


class ClientIdentity(NamedTuple):
    """Identifies a client to the queue, which gives clients turns.

    Args:
        address: The machine that the client connects from.
        name: The name that the client sends, which survives a reconnection (str); where it sends
            none, the name of its connection (bytes).
    """

    address: str
    name: str | bytes


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    """An admitted request that waits for, or is with, the policy.

    Args:
        message: The message that contained the request.
        request: Its envelope; the data are not decoded yet.
        endpoint: The endpoint that it asks for.
        received_s: When the server received it, in `time.monotonic`.
        client: The client whose turn it takes in the queue.
    """

    message: Message
    request: Request
    endpoint: Endpoint
    received_s: float = field(default_factory=time.monotonic)
    client: ClientIdentity = field(init=False)

    def __post_init__(self) -> None:
        message = self.message
        client = ClientIdentity(message.sender.address, self.request.client or message.route[0])
        object.__setattr__(self, "client", client)

    @property
    def route(self) -> list[bytes]:
        """The frames that route the reply to its client; the first names the connection."""
        return self.message.route

    @property
    def connection(self) -> bytes:
        """The server's own name for the connection that the request came by."""
        return self.message.route[0]

    @property
    def client_has_left(self) -> bool:
        """Whether the client has disconnected, so that nobody reads the reply."""
        return self.message.sender.disconnected

    @property
    def peer(self) -> str:
        """The client's network address, for the log."""
        return self.message.peer

    @property
    def client_id(self) -> str:
        """The client as the policy sees it (`gr00t_policy_core.policy.current_client`).

        The prefix keeps the names of clients and of connections apart, for any client name.
        """
        name = self.client.name
        return f"client {name}" if isinstance(name, str) else f"connection {name.hex()}"

    @property
    def size(self) -> int:
        """The size of the whole message, in bytes."""
        return self.message.size


@dataclass(frozen=True, slots=True)
class Reply:
    """An encoded reply.

    Args:
        route: The frames that route it to its client (`PendingRequest.route`).
        body: The encoded reply, as `RequestCodec` or `encode_error` makes it.
    """

    route: list[bytes]
    body: bytes
