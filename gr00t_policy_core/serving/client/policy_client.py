# SPDX-License-Identifier: Apache-2.0
"""A policy that another process computes: ours, or a server of either line of Isaac-GR00T."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gr00t_policy_core import modality
from gr00t_policy_core.errors import PolicyTimeoutError, ProtocolError, RemoteError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options
from gr00t_policy_core.resize import first_resize
from gr00t_policy_core.serving.client import settings
from gr00t_policy_core.serving.client.client_protocol import (
    Attempt,
    Conversation,
    as_map,
    is_unknown_endpoint,
)
from gr00t_policy_core.serving.client.connection import Connection
from gr00t_policy_core.serving.wire import jpeg as images
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.serializer import MsgSerializer

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
        resize: Make pictures as small as the policy makes them first, where the server says how
            (`gr00t_policy_core.resize`) and that has fewer pixels; the answers stay the same bit
            for bit, given the same OpenCV on both sides. Needs OpenCV. What is JPEG already and
            goes as such keeps its size.
        server_key: The public CURVE key of a secured server: its 40 characters, or the file
            `server.key`; with `keys`. None: plain text.
        keys: This client's own `NAME.key_secret`, which the server's `gr00t-policy keys` made.

    Raises:
        SpecError: A bad setting.
        ImportError: A package that a setting needs is missing.
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
        addresses = [(host, port)] if hosts is None else settings.read_addresses(hosts, port)
        settings.check(
            addresses,
            timeout_ms=timeout_ms,
            api_token=api_token,
            strict=strict,
            max_message_bytes=max_message_bytes,
            image_encoding=image_encoding,
            quality=quality,
            resize=resize,
        )
        settings.require_packages(image_encoding, resize)
        self.image_encoding = image_encoding
        self.quality = int(quality)
        self.resize = bool(resize)
        self.host, self.port = addresses[0][0], int(addresses[0][1])
        self._timeout_ms = settings.as_timeout_ms(timeout_ms)
        curve = settings.read_keys(server_key, keys)
        connections = [
            Connection(host, int(port), max_message_bytes=int(max_message_bytes), keys=curve)
            for host, port in addresses
        ]
        self._server = Conversation(connections, serializer, api_token)
        self._pause = threading.Event()  # set by `close`

    @property
    def timeout_ms(self) -> float:
        """How long each call may take."""
        return self._timeout_ms

    @timeout_ms.setter
    def timeout_ms(self, timeout_ms: float) -> None:
        self._timeout_ms = settings.as_timeout_ms(timeout_ms)

    @property
    def api_token(self) -> str | None:
        """What requests carry."""
        return self._server.api_token

    @property
    def dialect(self) -> Dialect | None:
        """What the server was heard to write; None while it is not known, or writes both."""
        return self._server.known.dialect

    def ping(self) -> bool:
        """Whether a policy server answers; False for one that is stopping.

        Raises:
            RemoteError: The server rejects this client (wrong token).
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
        """What the server's policy can beyond the common interface.

        A stock server tells nothing: its policies turn RELATIVE actions into absolute ones.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        return self._server.attempt(self.timeout_ms, Attempt.ask_for_capabilities)

    def get_state(self) -> str:
        """What the server says of itself: ``ready``, ``loading`` (the policy, still), ``failed``.

        A stock server is always ready.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        return _state(self._call("ping"))

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
                timeout_ms = min(left_s * 1000, self.timeout_ms)
                found = _state(self._server.attempt(timeout_ms, lambda a: a.call("ping")))
            except (TimeoutError, ProtocolError) as error:
                found = str(error)
            except RemoteError as error:
                if not _is_stopping(error):
                    raise
                found = "it is stopping"  # another may take its place
            if found == "ready":
                return
            if found == "failed":
                raise RemoteError(f"{self._server.server}: its policy could not be loaded")
            self._pause.wait(min(READY_POLL_S, max(0.0, ends_at - time.monotonic())))
        raise PolicyTimeoutError(
            f"{self._server.server} is not ready within {timeout_s} s ({found})"
        )

    def kill_server(self) -> None:
        """Make the server end."""
        self._call("kill")

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
            AddressError: Host and port are no address (with CURVE; else no reply comes in time).
            ClosedError: After `close`.
        """
        return self._server.attempt(self.timeout_ms, lambda a: a.request(endpoint, data))

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
        return self._call(endpoint, data if requires_input else None)

    def get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Answer an observation with an action chunk; see `BasePolicy.get_action`.

        Arrays are sent from where they are: nobody shall write into them meanwhile.

        Raises:
            SpecError: `options` are no map; or `strict`, and the observation or the answer does
                not fit.
            RemoteError: The server answered with an error.
            PolicyError: As in `send_request`.
        """
        _check_options(options)
        return self._server.attempt(
            self.timeout_ms, lambda attempt: self._answer(attempt, observation, options)
        )

    def reset(self, options: Options | None = None) -> Info:
        """Start a new episode; returns what the policy documents."""
        _check_options(options)
        self._server.forget()
        info = self._call("reset", {"options": options})
        return as_map(self._server.server, "reset", {} if info is None else info)

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        """Ask the server for the configs of its policy, by modality."""
        return self._server.attempt(self.timeout_ms, Attempt.ask_for_configs)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        """Values per step of each key; empty where the server is Isaac-GR00T's own."""
        try:
            dimensions = self._call("get_dimensions")
        except RemoteError as error:
            if not is_unknown_endpoint(error):
                raise
            return {}
        found = as_map(self._server.server, "get_dimensions", dimensions)
        for name, sizes in found.items():
            as_map(self._server.server, f"get_dimensions, {name}", sizes)
        return found

    def check_observation(self, observation: Observation) -> None:
        self._check(lambda configs: modality.check_observation(observation, configs))

    def check_action(self, action: Action) -> None:
        self._check(lambda configs: _check_action(action, configs))

    def close(self) -> None:
        """Disconnect; later calls raise `ClosedError`. May be called again."""
        self._pause.set()
        self._server.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        return self._server.attempt(
            self.timeout_ms, lambda attempt: self._ask_for_action(attempt, observation, options)
        )

    def _call(self, endpoint: str, data: Any = None) -> Any:
        return self._server.attempt(self.timeout_ms, lambda attempt: attempt.call(endpoint, data))

    def _check(self, check: Callable[[dict[str, ModalityConfig]], None]) -> None:
        self._server.attempt(self.timeout_ms, lambda attempt: attempt.check(check))

    def _answer(
        self, attempt: Attempt, observation: Observation, options: Options | None
    ) -> tuple[Action, Info]:
        if not self.strict:
            return self._ask_for_action(attempt, observation, options)
        configs = attempt.check(
            lambda configs: modality.check_observation(images.stand_ins(observation), configs)
        )
        action, info = self._ask_for_action(attempt, observation, options)
        _check_action(action, configs)
        return action, info

    def _ask_for_action(
        self, attempt: Attempt, observation: Observation, options: Options | None
    ) -> tuple[Action, Info]:
        attempt.meet(observation)
        observation = self._as_server_takes_it(attempt, observation)
        if attempt.known.envelops:  # then it is ours, and drops what it comes to too late
            options = {"deadline_s": attempt.deadline.remaining_s, **(options or {})}
        answer = attempt.call("get_action", {"observation": observation, "options": options})
        if not (isinstance(answer, list) and len(answer) == 2):
            raise ProtocolError(
                f"{self._server.server} get_action: expected [action, info], "
                f"got {type(answer).__name__}"
            )
        action, info = answer
        return action, info

    def _as_server_takes_it(self, attempt: Attempt, observation: Observation) -> Any:
        """The observation with its pictures as this client and the server want them."""
        if self.image_encoding == "raw" and not self.resize:
            return images.to_pixels(observation)
        asked_before = attempt.known.capabilities is not None
        told = attempt.capabilities()
        first = first_resize(told) if self.resize else None
        if self.resize and first is None and not asked_before:
            logger.info("%s tells no size: pictures keep theirs", self._server.server)
        as_jpeg = self.image_encoding == "jpeg" and images.CAPABILITY in told
        if not as_jpeg:
            observation = images.to_pixels(observation)
        if first is not None:
            observation = images.resized(observation, first)
        return images.to_jpeg(observation, self.quality) if as_jpeg else observation


def _check_action(action: Action, configs: dict[str, ModalityConfig]) -> None:
    if "action" in configs:
        modality.check_action(action, configs["action"])


def _check_options(options: object) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise SpecError("bad options", [f"expected a map or None, got {type(options).__name__}"])


def _is_unauthorized(error: RemoteError) -> bool:
    return "unauthorized" in str(error).lower()


def _is_stopping(error: RemoteError) -> bool:
    return str(error).endswith("the server is stopping")


def _state(reply: Any) -> str:
    """What the reply to a ping tells; a server that tells nothing is ready."""
    return str(reply.get("state", "ready")) if isinstance(reply, dict) else "ready"
