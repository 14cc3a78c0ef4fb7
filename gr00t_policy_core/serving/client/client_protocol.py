# SPDX-License-Identifier: Apache-2.0
"""A client's requests and replies, in the dialect and the form that its server speaks."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gr00t_policy_core.errors import PolicyError, ProtocolError, RemoteError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import ABSOLUTE_ACTIONS
from gr00t_policy_core.serving.client.connection import (
    Connection,
    Link,
    RunChangedError,
    ServerChangedError,
)
from gr00t_policy_core.serving.client.failover import Failover
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.wire import envelope as messages
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.serializer import Decoded, MsgSerializer, contains_arrays

T = TypeVar("T")

# In one call. More are no restarts, but servers behind a broker that hands requests out by turns.
MAX_RUNS = 3

logger = logging.getLogger(__name__)


# Isaac-GR00T's `Gr00tPolicy` adds the state to what its configs call RELATIVE (`decode_action`);
# its `ReplayPolicy` answers the absolute values that RELATIVE ones are made of in training.
STOCK_CAPABILITIES = (ABSOLUTE_ACTIONS,)


@dataclass(slots=True)
class KnownServer:
    """What was learnt about a server, on one connection; None: not asked yet.

    Args:
        link: The connection.
        run: What the server calls this run of itself; servers of Isaac-GR00T tell none.
        dialect: What it was heard to write; None also where it writes both.
        asked_for_dialect: It has had the chance to show it.
        envelops: Its last reply had the enveloped form: it is of ours.
        configs: Of its policy.
        capabilities: Of its policy and its own.
    """

    link: Link = field(default_factory=Link)
    run: str | None = None
    dialect: Dialect | None = None
    asked_for_dialect: bool = False
    envelops: bool = False
    configs: dict[str, ModalityConfig] | None = None
    capabilities: tuple[str, ...] | None = None

    def doubt(self) -> None:
        """Have everything asked again: the policy may be another one by now."""
        self.dialect = self.configs = self.capabilities = None
        self.asked_for_dialect = False


class Conversation:
    """Asks one server, or the first of several that answers.

    What is learnt about a server belongs to the connection that it was learnt on, and to the run
    of the server: a request that was made for another one is never computed, but made anew. After
    every error all is asked again, too, since the policy may be another one then.

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
        self._names_run = True  # in requests
        self._serializer = serializer
        self._connection: Connection | Failover = connections[0]
        if len(connections) > 1:
            self._connection = Failover(connections, api_token)

    @property
    def server(self) -> str:
        """The address that is asked, for errors."""
        return self._connection.server

    def attempt(self, timeout_ms: float, ask: Callable[[Attempt], T]) -> T:
        """Do something with one and the same server, again from the start where it changes.

        Args:
            timeout_ms: For all of it.
            ask: Asks by means of the attempt that it is given, and may be called again.

        Raises:
            PolicyError: As `Attempt.request`.
        """
        deadline = Deadline(timeout_ms)
        runs_changed = 0
        while True:
            attempt = Attempt(self, self.known, deadline)
            try:
                return ask(attempt)
            except ServerChangedError as changed:
                if self.known is attempt.known:
                    self.forget()
                runs_changed += isinstance(changed, RunChangedError)
            if runs_changed == MAX_RUNS and self._names_run:
                self._names_run = False
                logger.warning(
                    "several servers answer as %s: do they all serve one policy?", self.server
                )

    def forget(self) -> None:
        """The server may be another one, or have another policy, next time."""
        self.known = KnownServer()

    def close(self) -> None:
        self._connection.close()

    def exchange(
        self, endpoint: str, data: Any, known: KnownServer, deadline: Deadline
    ) -> dict[str, Any]:
        """Send one request, and return the whole reply, enveloped."""
        # The data come last: what is before them is the same in each request (`RequestReader`).
        request: dict[str, Any] = {"endpoint": endpoint, "envelope": True, "client": self._name}
        if known.run is not None and self._names_run:
            request["run"] = known.run
        if self.api_token:
            request["api_token"] = self.api_token
        if data is not None:
            request["data"] = data
        encoded = self._serializer.to_parts(request, dialect=known.dialect)
        try:
            received = self._connection.exchange(endpoint, encoded, deadline, known.link)
            decoded = self._decode(endpoint, received)
            reply = messages.normalise_reply(decoded.value)
        except BaseException:
            self.forget()
            raise
        run = messages.run_of(decoded.value)
        if reply["status"] == "error":
            known.doubt()
            if "run" in request and run not in (None, known.run):
                raise RunChangedError  # it refused what was meant for another run
        if known.run is None:
            known.run = run
        known.envelops = messages.is_envelope(decoded.value)
        known.dialect = decoded.dialect or known.dialect
        known.asked_for_dialect |= endpoint == "get_modality_config"
        return reply

    def _decode(self, endpoint: str, reply: memoryview) -> Decoded:
        try:
            return self._serializer.decode(reply)
        except ProtocolError as error:
            raise ProtocolError(f"{self.server} {endpoint}: {error}") from None


class Attempt:
    """One call's requests to one and the same server.

    Every method raises `ServerChangedError` where it is not the same any more; what was found out
    before does not hold then.

    Args:
        conversation: With the server.
        known: What is known of it.
        deadline: When the call must have ended.
    """

    __slots__ = ("conversation", "deadline", "known")

    def __init__(self, conversation: Conversation, known: KnownServer, deadline: Deadline) -> None:
        self.conversation = conversation
        self.known = known
        self.deadline = deadline

    def request(self, endpoint: str, data: Any = None) -> dict[str, Any]:
        """The whole reply, enveloped; see `PolicyClient.send_request`."""
        self.meet(data)
        return self.conversation.exchange(endpoint, data, self.known, self.deadline)

    def call(self, endpoint: str, data: Any = None) -> Any:
        """The data of the reply.

        Raises:
            RemoteError: The server answered with an error.
            PolicyError: As `request`.
        """
        reply = self.request(endpoint, data)
        if reply["status"] == "error":
            raise RemoteError(f"{self.conversation.server} {endpoint}: {reply['error']}")
        return reply["data"]

    def meet(self, data: Any) -> None:
        """Find out what the server speaks, where that matters for `data`."""
        if not self.known.asked_for_dialect and contains_arrays(data):
            self.conversation.exchange("get_modality_config", None, self.known, self.deadline)

    def ask_for_capabilities(self) -> tuple[str, ...]:
        """What the policy and its server can; a server of Isaac-GR00T tells nothing."""
        reply = self.call("ping")
        told = reply.get("capabilities") if isinstance(reply, dict) else None
        return tuple(map(str, told)) if isinstance(told, list) else STOCK_CAPABILITIES

    def capabilities(self) -> tuple[str, ...]:
        """The same, asked for once."""
        told = self.known.capabilities
        if told is None:
            told = self.known.capabilities = self.ask_for_capabilities()
        return told

    def ask_for_configs(self) -> dict[str, ModalityConfig]:
        """The configs of the policy."""
        answer = self.call("get_modality_config")
        configs = as_map(self.conversation.server, "get_modality_config", answer)
        for name, config in configs.items():
            if not isinstance(config, ModalityConfig):
                raise ProtocolError(
                    f"{self.conversation.server} get_modality_config: expected a modality config "
                    f"for {name}, got {type(config).__name__}"
                )
        return configs

    def configs(self) -> dict[str, ModalityConfig]:
        """The same, asked for once; empty where the server does not know of configs."""
        configs = self.known.configs
        if configs is None:
            try:
                configs = self.ask_for_configs()
            except RemoteError as error:
                if not is_unknown_endpoint(error):
                    raise
                logger.warning("%s tells no modality configs", self.conversation.server)
                configs = {}
            self.known.configs = configs
        return configs

    def check(
        self, check: Callable[[dict[str, ModalityConfig]], None]
    ) -> dict[str, ModalityConfig]:
        """Check something against `configs`, and return them.

        Where it does not fit, the server is asked whether it is still the one that told them.

        Raises:
            SpecError: It does not fit.
            ServerChangedError: The configs are those of another server.
        """
        known_before = self.known.configs
        configs = self.configs()
        try:
            check(configs)
        except SpecError:
            if known_before is not None:
                with contextlib.suppress(PolicyError):
                    self.call("ping")
            raise
        return configs


def as_map(server: str, endpoint: str, answer: Any) -> dict[str, Any]:
    """The answer of an endpoint, which must be a map."""
    if isinstance(answer, dict):
        return answer
    raise ProtocolError(f"{server} {endpoint}: expected a map, got {type(answer).__name__}")


def is_unknown_endpoint(error: RemoteError) -> bool:
    """Whether the server does not know what it was asked for."""
    return "unknown endpoint" in str(error).lower()
