# SPDX-License-Identifier: Apache-2.0
"""What passes between the threads of the sockets and those of the policy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from gr00t_policy_core.serving.server.endpoints import Endpoint
from gr00t_policy_core.serving.transport.base import Message
from gr00t_policy_core.serving.wire.envelope import Request


class Client(NamedTuple):
    """Whose turn it is in the queue.

    Args:
        address: Of its machine.
        name: As it calls itself, the same after it has connected anew; or else its connection.
    """

    address: str
    name: str | bytes


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A request that a handler is to answer.

    Args:
        message: As it came.
        request: What it says, the data still encoded.
        endpoint: Who answers it.
        received_s: When, in `time.monotonic`.
        asked_by: Whose turn it is when the job is taken.
    """

    message: Message
    request: Request
    endpoint: Endpoint
    received_s: float = field(default_factory=time.monotonic)
    asked_by: Client = field(init=False)

    def __post_init__(self) -> None:
        message = self.message
        client = Client(message.sender.address, self.request.client or message.route[0])
        object.__setattr__(self, "asked_by", client)

    @property
    def route(self) -> list[bytes]:
        """The frames that lead the reply back to its client; the first is the client's own."""
        return self.message.route

    @property
    def client(self) -> bytes:
        """Whose it is: the connection's own name."""
        return self.message.route[0]

    @property
    def is_abandoned(self) -> bool:
        """Whether its client has disconnected, so that nobody waits for the answer."""
        return self.message.sender.disconnected

    @property
    def peer(self) -> str:
        """Where it came from, for the log."""
        return self.message.peer

    @property
    def asker(self) -> str:
        """Whose it is for the policy: as its client calls itself, or else its connection.

        The two never look alike, whatever a client calls itself.
        """
        name = self.asked_by.name
        return f"client {name}" if isinstance(name, str) else f"connection {name.hex()}"

    @property
    def size(self) -> int:
        """How many bytes wait with it."""
        return self.message.size


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded reply and the way to its client."""

    route: list[bytes]
    reply: bytes
