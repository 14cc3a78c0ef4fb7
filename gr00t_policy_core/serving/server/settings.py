# SPDX-License-Identifier: Apache-2.0
"""The settings of a server, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.serving.transport.addresses import is_loopback
from gr00t_policy_core.serving.transport.tcp_connection_table import ConnectionLimits
from gr00t_policy_core.serving.wire.api_token import token_problems
from gr00t_policy_core.serving.wire.serializer import MsgSerializer

REPLY_FORMATS = ("auto", "envelope", "bare")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The arguments of `PolicyServer`, which describes each under the same name.

    Raises:
        SpecError: A value is out of range or contradicts another one; it lists all such values.
    """

    host: str
    port: int
    api_token: str | None
    reply_format: str
    serializer: type[MsgSerializer]
    keys: str | Path | None
    max_batch: int
    max_message_bytes: int
    max_receiving_bytes: int
    max_connections: int
    max_connections_per_address: int
    max_queued_requests: int
    max_queued_bytes: int
    stop_timeout_s: float

    def __post_init__(self) -> None:
        problems = token_problems(self.api_token)
        if self.reply_format not in REPLY_FORMATS:
            problems.append(
                f"reply_format must be one of {REPLY_FORMATS}, got {self.reply_format!r}"
            )
        problems += self._problems_of_sizes()
        if problems:
            raise SpecError("bad server setting", problems)

    @property
    def is_encrypted(self) -> bool:
        """Whether clients have to be listed among the keys, and connections are encrypted."""
        return self.keys is not None

    @property
    def authenticates_clients(self) -> bool:
        """Whether a client needs a token or a key."""
        return self.api_token is not None or self.is_encrypted

    @property
    def is_open_to_network(self) -> bool:
        """Whether anyone on the network can use the server."""
        return not self.authenticates_clients and not is_loopback(self.host)

    @property
    def connection_limits(self) -> ConnectionLimits:
        """The settings that limit what connections may take."""
        return ConnectionLimits(
            self.max_message_bytes,
            self.max_receiving_bytes,
            self.max_connections,
            self.max_connections_per_address,
        )

    def _problems_of_sizes(self) -> list[str]:
        names = (
            "max_batch",
            "max_message_bytes",
            "max_receiving_bytes",
            "max_connections",
            "max_connections_per_address",
        )
        values = {name: getattr(self, name) for name in names}
        problems = [
            f"{name} must be an integer of at least 1, got {value!r}"
            for name, value in values.items()
            if type(value) is not int or value < 1
        ]
        if not problems and self.max_receiving_bytes < self.max_message_bytes:
            problems.append(
                f"max_receiving_bytes must be at least max_message_bytes "
                f"({self.max_message_bytes}), got {self.max_receiving_bytes}"
            )
        return problems
