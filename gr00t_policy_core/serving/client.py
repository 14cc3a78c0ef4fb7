# SPDX-License-Identifier: Apache-2.0
"""A policy that another process computes: ours, or a server of either line of Isaac-GR00T."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gr00t_policy_core import modality
from gr00t_policy_core.errors import PolicyTimeoutError, ProtocolError, RemoteError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options
from gr00t_policy_core.resize import first_resize
from gr00t_policy_core.serving import client_settings as settings
from gr00t_policy_core.serving import images
from gr00t_policy_core.serving.connection import Connection
from gr00t_policy_core.serving.conversation import Conversation
from gr00t_policy_core.serving.deadline import Deadline
from gr00t_policy_core.serving.serializer import MsgSerializer
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
        timeout_ms: int = 15000,
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
        settings.check(addresses, timeout_ms, image_encoding, quality)
        settings.require_packages(image_encoding, resize)
        self.image_encoding = image_encoding
        self.quality = quality
        self.resize = resize
        self.host, self.port = addresses[0]
        self.timeout_ms = timeout_ms
        curve = settings.read_keys(server_key, keys)
        connections = [
            Connection(*address, max_message_bytes=max_message_bytes, keys=curve)
            for address in addresses
        ]
        self._server = Conversation(connections, serializer, api_token)
        self._pause = threading.Event()  # set by `close`

    @property
    def api_token(self) -> str | None:
        """What requests carry."""
        return self._server.api_token

    @property
    def dialect(self) -> Dialect | None:
        """What the server was heard to write; None while it is not known, or writes both."""
        return self._server.known.dialect

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
        return self._ask_for_capabilities(Deadline(self.timeout_ms))

    def get_state(self) -> str:
        """What the server says of itself: ``ready``, ``loading`` (the policy, still), ``failed``.

        A stock server is always ready.

        Raises:
            PolicyError: As `call_endpoint`.
        """
        reply = self.call_endpoint("ping", requires_input=False)
        return _state(reply)

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
                reply = self._server.call("ping", None, deadline)
                found = _state(reply)
            except (TimeoutError, ProtocolError) as error:
                found = str(error)
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
            AddressError: Host and port are no address (with CURVE; else no reply comes in time).
            ClosedError: After `close`.
        """
        return self._server.request(endpoint, data, Deadline(self.timeout_ms))

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
        data = data if requires_input else None
        return self._server.call(endpoint, data, Deadline(self.timeout_ms))

    def get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Answer an observation with an action chunk; see `BasePolicy.get_action`.

        Arrays are sent from where they are: nobody shall write into them meanwhile.

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
        self._server.forget()
        info = self.call_endpoint("reset", {"options": options})
        return self._server.as_map("reset", {} if info is None else info)

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
        return self._server.as_map("get_dimensions", dimensions)

    def check_observation(self, observation: Observation) -> None:
        modality.check_observation(observation, self._known_configs(Deadline(self.timeout_ms)))

    def check_action(self, action: Action) -> None:
        _check_action(action, self._known_configs(Deadline(self.timeout_ms)))

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
        return self._ask_for_action(observation, options, Deadline(self.timeout_ms))

    def _ask_for_action(
        self, observation: Observation, options: Options | None, deadline: Deadline
    ) -> tuple[Action, Info]:
        server = self._server
        server.meet(observation, deadline)
        if server.known.envelops:  # then it is ours, and drops what it comes to too late
            options = {"deadline_s": deadline.remaining_ms / 1000, **(options or {})}
        observation = self._as_server_takes_it(observation, deadline)
        data = {"observation": observation, "options": options}
        answer = server.call("get_action", data, deadline)
        if not (isinstance(answer, list) and len(answer) == 2):
            raise ProtocolError(
                f"{server.server} get_action: expected [action, info], got {type(answer).__name__}"
            )
        action, info = answer
        return action, info

    def _as_server_takes_it(self, observation: Observation, deadline: Deadline) -> Any:
        """The observation with its pictures as this client and the server want them."""
        if self.image_encoding == "raw" and not self.resize:
            return images.to_pixels(observation)
        told = self._known_capabilities(deadline)
        as_jpeg = self.image_encoding == "jpeg" and images.CAPABILITY in told
        if not as_jpeg:
            observation = images.to_pixels(observation)
        if self.resize and (first := first_resize(told)):
            observation = images.resized(observation, first)
        return images.to_jpeg(observation, self.quality) if as_jpeg else observation

    def _known_capabilities(self, deadline: Deadline) -> tuple[str, ...]:
        """The server's capabilities, asked for once while it goes on answering."""
        told = self._server.known.capabilities
        if told is None:
            told = self._ask_for_capabilities(deadline)
            self._server.known.capabilities = told
            if self.resize and first_resize(told) is None:
                logger.info("%s tells no size: pictures keep theirs", self._server.server)
        return told

    def _ask_for_capabilities(self, deadline: Deadline) -> tuple[str, ...]:
        reply = self._server.call("ping", None, deadline)
        told = reply.get("capabilities") if isinstance(reply, dict) else None
        return tuple(map(str, told)) if isinstance(told, list) else ()

    def _known_configs(self, deadline: Deadline) -> dict[str, ModalityConfig]:
        """The server's configs, asked for once while it goes on answering."""
        configs = self._server.known.configs
        if configs is None:
            try:
                configs = self._ask_for_configs(deadline)
            except RemoteError as error:
                if not _is_unknown_endpoint(error):
                    raise
                logger.warning("%s tells no modality configs", self._server.server)
                configs = {}
            self._server.known.configs = configs
        return configs

    def _ask_for_configs(self, deadline: Deadline) -> dict[str, ModalityConfig]:
        answer = self._server.call("get_modality_config", None, deadline)
        configs = self._server.as_map("get_modality_config", answer)
        for name, config in configs.items():
            if not isinstance(config, ModalityConfig):
                raise ProtocolError(
                    f"{self._server.server} get_modality_config: expected a modality config "
                    f"for {name}, got {type(config).__name__}"
                )
        return configs


def _check_action(action: Action, configs: dict[str, ModalityConfig]) -> None:
    if "action" in configs:
        modality.check_action(action, configs["action"])


def _is_unknown_endpoint(error: RemoteError) -> bool:
    return "unknown endpoint" in str(error).lower()


def _state(reply: Any) -> str:
    """What the reply to a ping tells; a server that tells nothing is ready."""
    return str(reply.get("state", "ready")) if isinstance(reply, dict) else "ready"
