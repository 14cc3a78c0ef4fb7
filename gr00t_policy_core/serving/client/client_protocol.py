# SPDX-License-Identifier: Apache-2.0
"""The client's side of the protocol: what it asks a server, and what it knows of the server."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gr00t_policy_core.errors import PolicyError, ProtocolError, RemoteError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import ABSOLUTE_ACTIONS
from gr00t_policy_core.serving.client.connection import (
    ConnectionPin,
    RequestSender,
    ServerChangedError,
)
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.envelope import DecodedReply
from gr00t_policy_core.serving.wire.serializer import Decoded, MsgSerializer, contains_arrays

T = TypeVar("T")

# In one call. More changes are not restarts, but several servers behind a broker that distributes
# requests among them.
MAX_RESTARTS = 3

# Isaac-GR00T's `Gr00tPolicy` adds the state to what its configs call RELATIVE (`decode_action`);
# its `ReplayPolicy` returns the absolute values that RELATIVE ones are made of in training.
STOCK_CAPABILITIES = (ABSOLUTE_ACTIONS,)

logger = logging.getLogger(__name__)


class ServerRestartedError(ServerChangedError):
    """The server has restarted since the request was made; it computed nothing."""


@dataclass(slots=True)
class ServerInfo:
    """What the client knows about a server, on one connection; None if it has not asked yet.

    Args:
        pin: The connection that the facts below were learnt on.
        run: The server's name for its current run; servers of Isaac-GR00T have none.
        dialect: The dialect that the server writes; None also where it writes both.
        was_asked_for_dialect: A reply of the server could have shown its dialect.
        envelops_replies: Its last reply had the enveloped form, so it is a server of ours.
        configs: The modality configs of its policy.
        capabilities: The capabilities of its policy and of the server itself.
    """

    pin: ConnectionPin = field(default_factory=ConnectionPin)
    run: str | None = None
    dialect: Dialect | None = None
    was_asked_for_dialect: bool = False
    envelops_replies: bool = False
    configs: dict[str, ModalityConfig] | None = None
    capabilities: tuple[str, ...] | None = None

    def invalidate(self) -> None:
        """Discard all answers: the server may have loaded another policy."""
        self.dialect = self.configs = self.capabilities = None
        self.was_asked_for_dialect = False


class ClientProtocol:
    """Encodes requests and decodes replies, in the dialect and the form that the server uses.

    What the client knows of a server holds for one connection and one run of the server. A request
    that was made for another run is not computed; the client makes it again. After every error it
    asks for everything again, since the policy may be another one.

    Args:
        connection: Carries the requests to the server, one at a time.
        serializer: Encodes requests and decodes replies.
        api_token: The server's token; None or empty for none.
    """

    def __init__(
        self, connection: RequestSender, serializer: type[MsgSerializer], api_token: str | None
    ) -> None:
        self.api_token = api_token
        self.info = ServerInfo()
        self._client_name = uuid.uuid4().hex  # identifies this client also after a reconnection
        self._sends_run = True
        self._serializer = serializer
        self._connection = connection

    @property
    def server(self) -> str:
        """The address of the server, for errors."""
        return self._connection.server

    def run(self, timeout_ms: float, call: Callable[[RemoteServer], T]) -> T:
        """Make one or more requests to the same server; start again where the server changes.

        Args:
            timeout_ms: The time for all requests together, ms.
            call: Makes the requests; called again after a change.

        Raises:
            PolicyError: As `RemoteServer.request`.
        """
        deadline = Deadline(timeout_ms)
        restarts = 0
        while True:
            info = self.info
            try:
                return call(RemoteServer(self, info, deadline))
            except ServerChangedError as changed:
                if self.info is info:
                    self.forget_server()
                restarts += isinstance(changed, ServerRestartedError)
            if restarts == MAX_RESTARTS and self._sends_run:
                self._sends_run = False
                logger.warning(
                    "several servers answer as %s: do they all serve one policy?", self.server
                )

    def forget_server(self) -> None:
        """Discard what is known about the server: the next request may reach another one."""
        self.info = ServerInfo()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def exchange(
        self, endpoint: str, data: Any, info: ServerInfo, deadline: Deadline
    ) -> DecodedReply:
        """Send one request, and return its reply.

        Args:
            endpoint: The name of the endpoint.
            data: Its arguments; None for nothing.
            info: What is known about the server; the request is encoded for it.
            deadline: When the reply must be there.

        Raises:
            PolicyTimeoutError: No reply in time.
            ProtocolError: The bytes received are not a reply.
            EncodingError: The data cannot be sent.
            ClosedError: After `close`.
        """
        # The data come last: what precedes them is the same in each request (`RequestReader`).
        request: dict[str, Any] = {
            "endpoint": endpoint,
            "envelope": True,
            "client": self._client_name,
        }
        if info.run is not None and self._sends_run:
            request["run"] = info.run
        if self.api_token:
            request["api_token"] = self.api_token
        if data is not None:
            request["data"] = data
        encoded = self._serializer.to_parts(request, dialect=info.dialect)
        try:
            received = self._connection.exchange(endpoint, encoded, deadline, info.pin)
            decoded = self._decode(endpoint, received)
            reply = DecodedReply.of(decoded.value)
        except BaseException:
            self.forget_server()
            raise
        if reply.error is not None:
            info.invalidate()
            if "run" in request and reply.run not in (None, info.run):
                raise ServerRestartedError
        if info.run is None:
            info.run = reply.run
        info.envelops_replies = reply.is_enveloped
        info.dialect = decoded.dialect or info.dialect
        info.was_asked_for_dialect |= endpoint == "get_modality_config"
        return reply

    def _decode(self, endpoint: str, reply: memoryview) -> Decoded:
        try:
            return self._serializer.decode(reply)
        except ProtocolError as error:
            raise ProtocolError(f"{self.server} {endpoint}: {error}") from None


class RemoteServer:
    """The server as one call sees it: the same one for all requests of the call.

    Every method raises `ServerChangedError` if the server is not the same; the results of the call
    are invalid then.

    Args:
        protocol: Sends each request in the form that the server reads.
        info: What is known of the server.
        deadline: When the call must have ended.
    """

    __slots__ = ("_protocol", "deadline", "info")

    def __init__(self, protocol: ClientProtocol, info: ServerInfo, deadline: Deadline) -> None:
        self._protocol = protocol
        self.info = info
        self.deadline = deadline

    @property
    def address(self) -> str:
        """The address of the server, for errors."""
        return self._protocol.server

    def request(self, endpoint: str, data: Any = None) -> DecodedReply:
        """Send a request, and return its reply; see `PolicyClient.send_request`."""
        self.learn_dialect_for(data)
        return self._protocol.exchange(endpoint, data, self.info, self.deadline)

    def call(self, endpoint: str, data: Any = None) -> Any:
        """Send a request, and return the data of its reply.

        Raises:
            RemoteError: The server answered with an error.
            PolicyError: As `request`.
        """
        reply = self.request(endpoint, data)
        if reply.error is not None:
            raise RemoteError(f"{self.address} {endpoint}: {reply.error}")
        return reply.data

    def learn_dialect_for(self, data: Any) -> None:
        """Find out which dialect the server speaks, where `data` depend on it."""
        if not self.info.was_asked_for_dialect and contains_arrays(data):
            self._protocol.exchange("get_modality_config", None, self.info, self.deadline)

    def request_capabilities(self) -> tuple[str, ...]:
        """The capabilities of the policy and its server; a server of Isaac-GR00T reports none."""
        reply = self.call("ping")
        reported = reply.get("capabilities") if isinstance(reply, dict) else None
        return tuple(map(str, reported)) if isinstance(reported, list) else STOCK_CAPABILITIES

    def capabilities(self) -> tuple[str, ...]:
        """The capabilities, requested once."""
        if self.info.capabilities is None:
            self.info.capabilities = self.request_capabilities()
        return self.info.capabilities

    def request_configs(self) -> dict[str, ModalityConfig]:
        """The modality configs of the policy.

        Raises:
            ProtocolError: The reply has something else.
            PolicyError: As `call`.
        """
        configs = expect_map(self.address, "get_modality_config", self.call("get_modality_config"))
        for name, config in configs.items():
            if not isinstance(config, ModalityConfig):
                raise ProtocolError(
                    f"{self.address} get_modality_config: expected a modality config for {name}, "
                    f"got {type(config).__name__}"
                )
        return configs

    def configs(self) -> dict[str, ModalityConfig]:
        """The modality configs, requested once; empty where the server does not have them."""
        if self.info.configs is None:
            try:
                self.info.configs = self.request_configs()
            except RemoteError as error:
                if not is_unknown_endpoint(error):
                    raise
                logger.warning("%s reports no modality configs", self.address)
                self.info.configs = {}
        return self.info.configs

    def check(
        self, check: Callable[[dict[str, ModalityConfig]], None]
    ) -> dict[str, ModalityConfig]:
        """Check something against `configs`, and return them.

        If it does not fit, a ping finds out whether the server still has these configs.

        Raises:
            SpecError: It does not fit.
            ServerChangedError: The configs are those of another server.
        """
        were_known = self.info.configs is not None
        configs = self.configs()
        try:
            check(configs)
        except SpecError:
            if were_known and not self._answers_ping():
                # The connection may have ended without the client's notice: this one is another.
                self._answers_ping()
            raise
        return configs

    def _answers_ping(self) -> bool:
        try:
            self.call("ping")
        except PolicyError:
            return False
        return True


def expect_map(server: str, endpoint: str, reply: Any) -> dict[str, Any]:
    """Return the reply of an endpoint, if it is a map.

    Raises:
        ProtocolError: It is something else.
    """
    if isinstance(reply, dict):
        return reply
    raise ProtocolError(f"{server} {endpoint}: expected a map, got {type(reply).__name__}")


def is_unknown_endpoint(error: RemoteError) -> bool:
    """Whether the server does not have the endpoint."""
    return "unknown endpoint" in str(error).lower()
