# SPDX-License-Identifier: Apache-2.0
"""The client of a policy server: ours, or one of either line of Isaac-GR00T."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gr00t_policy_core import modality
from gr00t_policy_core.errors import PolicyTimeoutError, ProtocolError, RemoteError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options
from gr00t_policy_core.serving.client.client_protocol import (
    ClientProtocol,
    RemoteServer,
    expect_map,
    is_unknown_endpoint,
)
from gr00t_policy_core.serving.client.connection import Connection
from gr00t_policy_core.serving.client.failover import FailoverConnection
from gr00t_policy_core.serving.client.image_encoding import ImageEncoding
from gr00t_policy_core.serving.client.settings import (
    ClientSettings,
    as_timeout_ms,
    read_hosts,
    read_keys,
)
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.envelope import DEADLINE_OPTION, STOPPING_ERROR
from gr00t_policy_core.serving.wire.serializer import MsgSerializer

READY_POLL_S = 0.2  # between pings to a server that is not ready


class PolicyClient(ModalityPolicy):
    """A policy whose actions a server computes.

    The constructor does not connect. Every call ends within `timeout_ms`, with an error that names
    host, port and endpoint; after an error the next call connects again. Threads can share a
    client; their calls take turns.

    Arrays in replies are read-only views of the received message; copy what you want to change.

    Args:
        host: Name or address of the server; or ``"ipc:///path"``, its Unix socket.
        port: Its port; not used with a Unix socket.
        timeout_ms: How long each call can take.
        api_token: The server's token; None or empty for none.
        strict: Check observations against the server's modality configs before they are sent, and
            actions when they arrive. False for a server whose observations have another layout,
            with flat keys for example.
        serializer: A subclass, to send objects of other classes.
        max_message_bytes: A server that announces a larger reply is disconnected.
        hosts: Several servers, ``"host"`` or ``"host:port"``, instead of `host`: requests go to
            the first that is ready; after a failure to the next one, and to an earlier one again
            when it has recovered. All must serve the same policy, with the same `api_token` and
            `server_key`.
        image_encoding: ``"jpeg"`` sends images as JPEG to servers that accept it (for slow
            networks; lossy), and as pixels to others. Needs simplejpeg.
        quality: Quality of the JPEG, 1 to 100.
        resize: Send images at the size that the policy resizes them to first, where the server
            reports it (`gr00t_policy_core.resize`) and it has fewer pixels; actions stay the same
            bit for bit, given the same OpenCV at both ends. Needs OpenCV. Images that are JPEG
            already and are sent as JPEG keep their size.
        server_key: The public CURVE key of a secured server: its 40 characters, or the file
            `server.key`; needs `keys`. None: plain text.
        keys: This client's own `NAME.key_secret`, created by `gr00t-policy keys` on the server.

    Raises:
        SpecError: A setting is wrong; the error lists every such setting.
        ImportError: A setting needs a package that is not installed.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 5555,
        timeout_ms: float = 15000,
        api_token: str | None = None,
        strict: bool = True,
        *,
        serializer: type[MsgSerializer] = MsgSerializer,
        max_message_bytes: int = 256 * 2**20,
        hosts: Sequence[str] | None = None,
        image_encoding: str = "raw",
        quality: int = 90,
        resize: bool = False,
        server_key: str | Path | None = None,
        keys: str | Path | None = None,
    ) -> None:
        super().__init__(strict)
        settings = ClientSettings(
            addresses=[(host, port)] if hosts is None else read_hosts(hosts, port),
            timeout_ms=timeout_ms,
            api_token=api_token,
            strict=strict,
            max_message_bytes=max_message_bytes,
            image_encoding=image_encoding,
            quality=quality,
            resize=resize,
        )
        curve_keys = read_keys(server_key, keys)
        connections = [
            Connection(host, int(port), max_message_bytes=int(max_message_bytes), keys=curve_keys)
            for host, port in settings.addresses
        ]
        self.host, self.port = settings.addresses[0][0], int(settings.addresses[0][1])
        self._images = ImageEncoding(image_encoding, int(quality), bool(resize))
        self._timeout_ms = as_timeout_ms(timeout_ms)
        self._protocol = ClientProtocol(
            connections[0] if len(connections) == 1 else FailoverConnection(connections, api_token),
            serializer,
            api_token,
        )
        self._closed = threading.Event()

    @property
    def timeout_ms(self) -> float:
        """How long each call can take."""
        return self._timeout_ms

    @timeout_ms.setter
    def timeout_ms(self, timeout_ms: float) -> None:
        self._timeout_ms = as_timeout_ms(timeout_ms)

    @property
    def api_token(self) -> str | None:
        """The token that requests carry."""
        return self._protocol.api_token

    @property
    def dialect(self) -> Dialect | None:
        """The dialect that the server writes; None while it is unknown, or where it writes both."""
        return self._protocol.info.dialect

    def ping(self) -> bool:
        """Whether a policy server answers; False where it is stopping.

        Raises:
            RemoteError: The server rejected this client (wrong token).
            ClosedError: After `close`.
        """
        try:
            self._call("ping")
        except (TimeoutError, ProtocolError):
            return False
        except RemoteError as error:
            if _is_unauthorized(error):
                raise
            return False
        return True

    def get_capabilities(self) -> tuple[str, ...]:
        """What the server's policy can do beyond the common interface.

        A stock server reports nothing: its policies turn RELATIVE actions into absolute ones.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        return self._protocol.run(self.timeout_ms, RemoteServer.request_capabilities)

    def get_state(self) -> str:
        """The state of the server: ``ready``, ``loading`` (its policy) or ``failed``.

        A stock server is always ready.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        return _state(self._call("ping"))

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until the server answers and its policy is loaded.

        Raises:
            PolicyTimeoutError: The server is not ready within `timeout_s`; the text gives its
                last state.
            RemoteError: The server rejected this client (wrong token), or could not load its
                policy.
            ClosedError: After `close`.
        """
        ends_at = time.monotonic() + timeout_s
        found = "no answer"
        while (remaining_s := ends_at - time.monotonic()) > 0:
            try:
                timeout_ms = min(remaining_s * 1000, self.timeout_ms)
                found = _state(self._protocol.run(timeout_ms, lambda server: server.call("ping")))
            except (TimeoutError, ProtocolError) as error:
                found = str(error)
            except RemoteError as error:
                if not _is_stopping(error):
                    raise
                found = "it is stopping"  # another server may take its place
            if found == "ready":
                return
            if found == "failed":
                raise RemoteError(f"{self._protocol.server}: its policy could not be loaded")
            self._closed.wait(min(READY_POLL_S, max(0.0, ends_at - time.monotonic())))
        raise PolicyTimeoutError(
            f"{self._protocol.server} is not ready within {timeout_s:g} s ({found})"
        )

    def kill_server(self) -> None:
        """Stop the server.

        Raises:
            RemoteError: The server refuses it: this client is elsewhere, and there is no token.
            PolicyError: As `call_endpoint`.
        """
        self._call("kill")

    def send_request(self, endpoint: str, data: Any = None) -> dict[str, Any]:
        """Send a request to any endpoint, and return the whole reply.

        Args:
            endpoint: The name of the endpoint.
            data: What the endpoint documents, usually a map of its arguments; None for nothing.

        Returns:
            ``{"status": "success", "data": …}`` or ``{"status": "error", "error": str}``,
            whichever form the reply of the server had.

        Raises:
            PolicyTimeoutError: No reply in time.
            ProtocolError: The bytes received are not a reply.
            EncodingError: The data cannot be sent.
            AddressError: The host is not an address (with CURVE; otherwise PolicyTimeoutError).
            ClosedError: After `close`.
        """
        reply = self._protocol.run(self.timeout_ms, lambda server: server.request(endpoint, data))
        return reply.as_dict()

    def call_endpoint(self, endpoint: str, data: Any = None, requires_input: bool = True) -> Any:
        """Send a request to any endpoint, and return the data of its reply.

        Args:
            endpoint: The name of the endpoint.
            data: The content of the request, as in `send_request`.
            requires_input: Whether the request has data; False sends none.

        Raises:
            RemoteError: The server answered with an error.
            PolicyError: As in `send_request`.
        """
        return self._call(endpoint, data if requires_input else None)

    def get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Compute the action chunk for an observation; see `BasePolicy.get_action`.

        Arrays are sent without a copy: do not write to them during the call.

        Raises:
            SpecError: `options` are not a map; or, where `strict`, the observation or the action
                does not fit the server's modality configs.
            RemoteError: The server answered with an error.
            PolicyError: As in `send_request`.
        """
        _check_options(options)
        return self._protocol.run(
            self.timeout_ms, lambda server: self._get_checked_action(server, observation, options)
        )

    def reset(self, options: Options | None = None) -> Info:
        """Start a new episode; returns the info that the policy documents.

        Raises:
            SpecError: `options` are not a map.
            PolicyError: As `call_endpoint`.
        """
        _check_options(options)
        self._protocol.forget_server()
        info = self._call("reset", {"options": options})
        return expect_map(self._protocol.server, "reset", {} if info is None else info)

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """The configs of the server's policy, by modality.

        Raises:
            ProtocolError: The server answered with something else.
            PolicyError: As `call_endpoint`.
        """
        return self._protocol.run(self.timeout_ms, RemoteServer.request_configs)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        """Values per step of each key, by modality; empty for a server of Isaac-GR00T.

        Raises:
            ProtocolError: The server answered with something else.
            PolicyError: As `call_endpoint`.
        """
        try:
            dimensions = self._call("get_dimensions")
        except RemoteError as error:
            if not is_unknown_endpoint(error):
                raise
            return {}
        found = expect_map(self._protocol.server, "get_dimensions", dimensions)
        for name, sizes in found.items():
            expect_map(self._protocol.server, f"get_dimensions, {name}", sizes)
        return found

    def check_observation(self, observation: Observation) -> None:
        self._check(lambda configs: modality.check_observation(observation, configs))

    def check_action(self, action: Action) -> None:
        self._check(lambda configs: _check_action(action, configs))

    def close(self) -> None:
        """Disconnect; later calls raise `ClosedError`. Can be called again."""
        self._closed.set()
        self._protocol.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        return self._protocol.run(
            self.timeout_ms, lambda server: self._request_action(server, observation, options)
        )

    def _call(self, endpoint: str, data: Any = None) -> Any:
        return self._protocol.run(self.timeout_ms, lambda server: server.call(endpoint, data))

    def _check(self, check: Callable[[dict[str, ModalityConfig]], None]) -> None:
        self._protocol.run(self.timeout_ms, lambda server: server.check(check))

    def _get_checked_action(
        self, server: RemoteServer, observation: Observation, options: Options | None
    ) -> tuple[Action, Info]:
        if not self.strict:
            return self._request_action(server, observation, options)
        configs = server.check(
            lambda configs: modality.check_observation(jpeg.with_placeholders(observation), configs)
        )
        action, info = self._request_action(server, observation, options)
        _check_action(action, configs)
        return action, info

    def _request_action(
        self, server: RemoteServer, observation: Observation, options: Options | None
    ) -> tuple[Action, Info]:
        server.learn_dialect_for(observation)
        observation = self._images.encode(observation, server)
        if server.info.envelops_replies:  # a server of ours, which drops requests that are too late
            options = {DEADLINE_OPTION: server.deadline.remaining_s, **(options or {})}
        reply = server.call("get_action", {"observation": observation, "options": options})
        if not (isinstance(reply, list) and len(reply) == 2):
            raise ProtocolError(
                f"{server.address} get_action: expected [action, info], got {type(reply).__name__}"
            )
        action, info = reply
        return action, info


def _check_action(action: Action, configs: dict[str, ModalityConfig]) -> None:
    if "action" in configs:
        modality.check_action(action, configs["action"])


def _check_options(options: object) -> None:
    if options is not None and not isinstance(options, modality.MAPPING_TYPES):
        raise SpecError("bad options", [f"expected a map or None, got {type(options).__name__}"])


def _is_unauthorized(error: RemoteError) -> bool:
    return "unauthorized" in str(error).lower()


def _is_stopping(error: RemoteError) -> bool:
    return str(error).endswith(STOPPING_ERROR)


def _state(reply: Any) -> str:
    """The state in the reply to a ping; a server that reports none is ready."""
    return str(reply.get("state", "ready")) if isinstance(reply, dict) else "ready"
