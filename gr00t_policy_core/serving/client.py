# SPDX-License-Identifier: Apache-2.0
"""A policy that another process computes: ours, or a server of either line of Isaac-GR00T."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gr00t_policy_core import modality
from gr00t_policy_core.errors import PolicyTimeoutError, ProtocolError, RemoteError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options
from gr00t_policy_core.serving import client_settings as settings
from gr00t_policy_core.serving import images, messages
from gr00t_policy_core.serving.connection import Connection, Deadline
from gr00t_policy_core.serving.failover import Failover
from gr00t_policy_core.serving.serializer import Decoded, MsgSerializer, contains_arrays
from gr00t_policy_core.serving.wire import Dialect

READY_POLL_S = 0.2  # between questions to a server that is not ready

logger = logging.getLogger(__name__)


class PolicyClient(ModalityPolicy):
    """Asks a policy server.

    Nothing connects here. Every call ends within `timeout_ms`, with an error that names host,
    port and endpoint; after any error the next call starts afresh. Threads may share a client;
    their calls take turns.

    Arrays in answers are read-only views of the received message; copy what is to be changed.

    Args:
        host: Name or address of the server; or ``"ipc:///path"``, its Unix socket.
        port: Its port; not used with a Unix socket.
        timeout_ms: How long each call may take.
        api_token: What the server was started with; None or empty for none.
        strict: Check observations against the server's own modality configs before they leave,
            and actions when they arrive. False for a server whose observations are laid out in
            another way, with flat keys for example.
        serializer: A subclass, where other classes of objects travel.
        max_message_bytes: A server that announces a larger reply is disconnected.
        hosts: Several servers, ``"host"`` or ``"host:port"``, in place of `host`: the first that
            answers is asked; after a failure the next one, and the first again when it is back.
            They shall serve the same policy; one `api_token` and `server_key` is for all of them.
        image_encoding: ``"jpeg"`` sends pictures as JPEG to servers that take it (for slow
            networks; it loses something), and raw to others. Needs simplejpeg.
        quality: Of the JPEG, 1 to 100.
        server_key: The public CURVE key of a secured server: its 40 characters, or the file
            `server.key`; with `keys`. None: plain text.
        keys: This client's own `NAME.key_secret`, which the server's `gr00t-policy keys` made.

    Raises:
        SpecError: A bad setting.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 5555,
        timeout_ms: int = 15000,
        api_token: str | None = None,
        strict: bool = True,
        *,
        serializer: type[MsgSerializer] = MsgSerializer,
        max_message_bytes: int = 256 * 2**20,
        hosts: Sequence[str] | None = None,
        image_encoding: str = "raw",
        quality: int = 90,
        server_key: str | Path | None = None,
        keys: str | Path | None = None,
    ) -> None:
        super().__init__(strict)
        addresses = [(host, port)] if hosts is None else settings.read_addresses(hosts, port)
        problems = [
            p for address in addresses for p in settings.address_problems(*address, timeout_ms)
        ]
        problems += settings.image_problems(image_encoding, quality)
        if problems:
            raise SpecError("bad client setting", problems)
        if image_encoding == "jpeg":
            images.require()
        self.image_encoding = image_encoding
        self.quality = quality
        self.host, self.port = addresses[0]
        self.timeout_ms = timeout_ms
        self.api_token = api_token
        self._serializer = serializer
        curve = settings.read_keys(server_key, keys)
        connections = [
            Connection(*address, max_message_bytes=max_message_bytes, keys=curve)
            for address in addresses
        ]
        self._connection: Connection | Failover = connections[0]
        if len(connections) > 1:
            self._connection = Failover(connections, api_token, self._forget_server)
        self._name = uuid.uuid4().hex  # the server knows it by this after a reconnection
        self._pause = threading.Event()  # set by `close`
        self._configs: dict[str, ModalityConfig] | None = None
        self._dialect: Dialect | None = None
        self._asked_for_dialect = False
        self._server_envelops = False
        self._takes_jpeg: bool | None = None

    @property
    def dialect(self) -> Dialect | None:
        """What the server was heard to write; None while it is not known, or writes both."""
        return self._dialect

    def ping(self) -> bool:
        """Whether a policy server answers.

        Raises:
            RemoteError: It answers, and lets this client not in.
            ClosedError: After `close`.
        """
        try:
            self.call_endpoint("ping", requires_input=False)
        except (TimeoutError, ProtocolError):
            return False
        return True

    def get_capabilities(self) -> tuple[str, ...]:
        """What the server's policy can beyond the common interface; a stock server tells nothing.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        reply = self.call_endpoint("ping", requires_input=False)
        told = reply.get("capabilities") if isinstance(reply, dict) else None
        return tuple(map(str, told)) if isinstance(told, list) else ()

    def get_state(self) -> str:
        """What the server says of itself: ``ready``, ``loading`` (the policy, still), ``failed``.

        A stock server is always ready.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        reply = self.call_endpoint("ping", requires_input=False)
        return str(reply.get("state", "ready")) if isinstance(reply, dict) else "ready"

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until the server answers and its policy is loaded.

        Raises:
            PolicyTimeoutError: Not within `timeout_s`; it says how far the server came.
            RemoteError: The server lets this client not in, or could not load its policy.
            ClosedError: After `close`.
        """
        ends_at = time.monotonic() + timeout_s
        found = "no answer"
        while (left_s := ends_at - time.monotonic()) > 0:
            try:
                deadline = Deadline(min(left_s * 1000, self.timeout_ms))
                reply = self._call("ping", None, deadline)
                found = reply.get("state", "ready") if isinstance(reply, dict) else "ready"
            except (TimeoutError, ProtocolError) as error:
                found = str(error)
            if found == "ready":
                return
            if found == "failed":
                raise RemoteError(f"{self._connection.server}: its policy could not be loaded")
            self._pause.wait(min(READY_POLL_S, max(0.0, ends_at - time.monotonic())))
        raise PolicyTimeoutError(
            f"{self._connection.server} is not ready within {timeout_s} s ({found})"
        )

    def kill_server(self) -> None:
        """Make the server end."""
        self.call_endpoint("kill", requires_input=False)

    def send_request(self, endpoint: str, data: Any = None) -> dict[str, Any]:
        """Ask any endpoint, and get the whole reply.

        Args:
            endpoint: Its name.
            data: What it documents, usually a map of its arguments; None for nothing.

        Returns:
            ``{"status": "success", "data": …}`` or ``{"status": "error", "error": str}``,
            whichever form the server's own reply had.

        Raises:
            PolicyTimeoutError: No reply in time.
            ProtocolError: A reply that is no message of ours.
            EncodingError: Data that cannot be sent.
            AddressError: Host and port are no address.
            ClosedError: After `close`.
        """
        return self._request(endpoint, data, Deadline(self.timeout_ms))

    def call_endpoint(self, endpoint: str, data: Any = None, requires_input: bool = True) -> Any:
        """Ask any endpoint, and get the data of its reply.

        Args:
            endpoint: Its name.
            data: As in `send_request`.
            requires_input: False sends no data.

        Raises:
            RemoteError: The server answered with an error.
            PolicyError: As in `send_request`.
        """
        return self._call(endpoint, data if requires_input else None, Deadline(self.timeout_ms))

    def get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Answer an observation with an action chunk; see `BasePolicy.get_action`.

        Raises:
            SpecError: `strict`, and the observation or the answer does not fit.
            RemoteError: The server answered with an error.
            PolicyError: As in `send_request`.
        """
        deadline = Deadline(self.timeout_ms)
        if not self.strict:
            return self._ask_for_action(observation, options, deadline)
        configs = self._known_configs(deadline)
        modality.check_observation(images.stand_ins(observation), configs)
        action, info = self._ask_for_action(observation, options, deadline)
        _check_action(action, configs)
        return action, info

    def reset(self, options: Options | None = None) -> Info:
        """Start a new episode; returns what the policy documents."""
        self._forget_server()
        info = self.call_endpoint("reset", {"options": options})
        return self._as_map("reset", {} if info is None else info)

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """Ask the server for the configs of its policy, by modality."""
        return self._ask_for_configs(Deadline(self.timeout_ms))

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        """Values per step of each key; empty where the server is Isaac-GR00T's own."""
        try:
            dimensions = self.call_endpoint("get_dimensions", requires_input=False)
        except RemoteError as error:
            if not _is_unknown_endpoint(error):
                raise
            return {}
        return self._as_map("get_dimensions", dimensions)

    def check_observation(self, observation: Observation) -> None:
        modality.check_observation(observation, self._known_configs(Deadline(self.timeout_ms)))

    def check_action(self, action: Action) -> None:
        _check_action(action, self._known_configs(Deadline(self.timeout_ms)))

    def close(self) -> None:
        """Disconnect; later calls raise `ClosedError`. May be called again."""
        self._pause.set()
        self._connection.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        return self._ask_for_action(observation, options, Deadline(self.timeout_ms))

    def _ask_for_action(
        self, observation: Observation, options: Options | None, deadline: Deadline
    ) -> tuple[Action, Info]:
        self._meet_server(observation, deadline)
        if self._server_envelops:  # then it is ours, and drops what it comes to too late
            options = {"deadline_s": deadline.remaining_ms / 1000, **(options or {})}
        observation = self._encoded(observation, deadline)
        data = {"observation": observation, "options": options}
        answer = self._call("get_action", data, deadline)
        if not (isinstance(answer, list) and len(answer) == 2):
            raise ProtocolError(
                f"{self._connection.server} get_action: expected [action, info], "
                f"got {type(answer).__name__}"
            )
        action, info = answer
        return action, info

    def _encoded(self, observation: Observation, deadline: Deadline) -> Any:
        """The observation with its pictures as this client and the server want them."""
        if self.image_encoding == "raw":
            return images.to_pixels(observation)
        if self._takes_jpeg is None:
            reply = self._call("ping", None, deadline)
            told = reply.get("capabilities") if isinstance(reply, dict) else None
            self._takes_jpeg = isinstance(told, list) and images.CAPABILITY in told
        if self._takes_jpeg:
            return images.to_jpeg(observation, self.quality)
        return images.to_pixels(observation)

    def _known_configs(self, deadline: Deadline) -> dict[str, ModalityConfig]:
        """The server's configs, asked for once while it goes on answering."""
        configs = self._configs
        if configs is None:
            try:
                configs = self._ask_for_configs(deadline)
            except RemoteError as error:
                if not _is_unknown_endpoint(error):
                    raise
                logger.warning("%s tells no modality configs", self._connection.server)
                configs = {}
            self._configs = configs
        return configs

    def _ask_for_configs(self, deadline: Deadline) -> dict[str, ModalityConfig]:
        configs = self._as_map(
            "get_modality_config", self._call("get_modality_config", None, deadline)
        )
        for name, config in configs.items():
            if not isinstance(config, ModalityConfig):
                raise ProtocolError(
                    f"{self._connection.server} get_modality_config: expected a modality config "
                    f"for {name}, got {type(config).__name__}"
                )
        return configs

    def _as_map(self, endpoint: str, answer: Any) -> dict[str, Any]:
        if isinstance(answer, dict):
            return answer
        raise ProtocolError(
            f"{self._connection.server} {endpoint}: expected a map, got {type(answer).__name__}"
        )

    def _call(self, endpoint: str, data: Any, deadline: Deadline) -> Any:
        reply = self._request(endpoint, data, deadline)
        if reply["status"] == "error":
            raise RemoteError(f"{self._connection.server} {endpoint}: {reply['error']}")
        return reply["data"]

    def _request(self, endpoint: str, data: Any, deadline: Deadline) -> dict[str, Any]:
        self._meet_server(data, deadline)
        return self._exchange(endpoint, data, deadline)

    def _meet_server(self, data: Any, deadline: Deadline) -> None:
        """Find out what the server speaks, where it matters."""
        if not self._asked_for_dialect and contains_arrays(data):
            self._exchange("get_modality_config", None, deadline)

    def _exchange(self, endpoint: str, data: Any, deadline: Deadline) -> dict[str, Any]:
        request = {"endpoint": endpoint, "envelope": True, "client": self._name}
        if data is not None:
            request["data"] = data
        if self.api_token:
            request["api_token"] = self.api_token
        encoded = self._serializer.to_bytes(request, dialect=self._dialect)
        try:
            decoded = self._decode(endpoint, self._connection.exchange(endpoint, encoded, deadline))
            reply = messages.normalise_reply(decoded.value)
            self._server_envelops = messages.is_envelope(decoded.value)
        except BaseException:
            self._forget_server()
            raise
        if reply["status"] == "error":
            self._forget_server()
        self._dialect = decoded.dialect or self._dialect
        self._asked_for_dialect |= endpoint == "get_modality_config"
        return reply

    def _decode(self, endpoint: str, reply: memoryview) -> Decoded:
        try:
            return self._serializer.decode(reply)
        except ProtocolError as error:
            raise ProtocolError(f"{self._connection.server} {endpoint}: {error}") from None

    def _forget_server(self) -> None:
        """Another server may answer next time."""
        self._configs = None
        self._dialect = None
        self._asked_for_dialect = False
        self._server_envelops = False
        self._takes_jpeg = None


def _check_action(action: Action, configs: dict[str, ModalityConfig]) -> None:
    if "action" in configs:
        modality.check_action(action, configs["action"])


def _is_unknown_endpoint(error: RemoteError) -> bool:
    return "unknown endpoint" in str(error).lower()
