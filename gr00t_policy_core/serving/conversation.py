# SPDX-License-Identifier: Apache-2.0
"""A client's requests and replies, in the dialect and the form that its server speaks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.errors import ProtocolError, RemoteError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.serving import messages
from gr00t_policy_core.serving.connection import Connection
from gr00t_policy_core.serving.deadline import Deadline
from gr00t_policy_core.serving.failover import Failover
from gr00t_policy_core.serving.serializer import Decoded, MsgSerializer, contains_arrays
from gr00t_policy_core.serving.wire import Dialect


@dataclass(slots=True)
class KnownServer:
    """What was found out about a server; None: not asked yet.

    Args:
        dialect: What it was heard to write; None also where it writes both.
        asked_for_dialect: It has had the chance to show it.
        envelops: Its last reply had the enveloped form: it is of ours.
        configs: Of its policy.
        capabilities: Of its policy and its own.
    """

    dialect: Dialect | None = None
    asked_for_dialect: bool = False
    envelops: bool = False
    configs: dict[str, ModalityConfig] | None = None
    capabilities: tuple[str, ...] | None = None


class Conversation:
    """Asks one server, or the first of several that answers.

    `known` is made anew after every error, since another server may answer then.

    Args:
        connections: In order of preference; at least one.
        serializer: Writes requests and reads replies.
        api_token: What the servers were started with; None or empty for none.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        serializer: type[MsgSerializer],
        api_token: str | None,
    ) -> None:
        self.api_token = api_token
        self.known = KnownServer()
        self._name = uuid.uuid4().hex  # the server knows it by this after a reconnection
        self._serializer = serializer
        self._connection: Connection | Failover = connections[0]
        if len(connections) > 1:
            self._connection = Failover(connections, api_token, self.forget)

    @property
    def server(self) -> str:
        """The address that is asked, for errors."""
        return self._connection.server

    def request(self, endpoint: str, data: Any, deadline: Deadline) -> dict[str, Any]:
        """The whole reply, enveloped; see `PolicyClient.send_request`."""
        self.meet(data, deadline)
        return self._exchange(endpoint, data, deadline)

    def meet(self, data: Any, deadline: Deadline) -> None:
        """Find out what the server speaks, where that matters for `data`."""
        if not self.known.asked_for_dialect and contains_arrays(data):
            self._exchange("get_modality_config", None, deadline)

    def call(self, endpoint: str, data: Any, deadline: Deadline) -> Any:
        """The data of the reply.

        Raises:
            RemoteError: The server answered with an error.
            PolicyError: As `request`.
        """
        reply = self.request(endpoint, data, deadline)
        if reply["status"] == "error":
            raise RemoteError(f"{self.server} {endpoint}: {reply['error']}")
        return reply["data"]

    def as_map(self, endpoint: str, answer: Any) -> dict[str, Any]:
        """The answer of an endpoint, which must be a map."""
        if isinstance(answer, dict):
            return answer
        raise ProtocolError(
            f"{self.server} {endpoint}: expected a map, got {type(answer).__name__}"
        )

    def forget(self) -> None:
        """Another server may answer next time."""
        self.known = KnownServer()

    def close(self) -> None:
        self._connection.close()

    def _exchange(self, endpoint: str, data: Any, deadline: Deadline) -> dict[str, Any]:
        request = {"endpoint": endpoint, "envelope": True, "client": self._name}
        if data is not None:
            request["data"] = data
        if self.api_token:
            request["api_token"] = self.api_token
        encoded = self._serializer.to_parts(request, dialect=self.known.dialect)
        try:
            decoded = self._decode(endpoint, self._connection.exchange(endpoint, encoded, deadline))
            reply = messages.normalise_reply(decoded.value)
        except BaseException:
            self.forget()
            raise
        if reply["status"] == "error":
            self.forget()
        known = self.known
        known.envelops = messages.is_envelope(decoded.value)
        known.dialect = decoded.dialect or known.dialect
        known.asked_for_dialect |= endpoint == "get_modality_config"
        return reply

    def _decode(self, endpoint: str, reply: memoryview) -> Decoded:
        try:
            return self._serializer.decode(reply)
        except ProtocolError as error:
            raise ProtocolError(f"{self.server} {endpoint}: {error}") from None
