# SPDX-License-Identifier: Apache-2.0
"""The data of requests decoded to a handler's arguments, and its results encoded as replies."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.serving.server.endpoints import ACTION_ENDPOINT
from gr00t_policy_core.serving.server.pending_request import PendingRequest
from gr00t_policy_core.serving.server.request_limits import RequestLimits
from gr00t_policy_core.serving.wire import envelope, jpeg
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.client_info import CLIENT_INFO, ClientInfo
from gr00t_policy_core.serving.wire.envelope import DEADLINE_OPTION, Request
from gr00t_policy_core.serving.wire.error_text import error_text
from gr00t_policy_core.serving.wire.serializer import Decoded, MsgSerializer

MAX_CLIENTS = 1024  # whose dialects are remembered
STALE_RUN = "the server was restarted since this client asked what its policy takes: ask again"


@dataclass(frozen=True, slots=True, eq=False)
class DecodedRequest:
    """A request whose handler can be called, or that cannot be answered.

    Args:
        pending: The request as it waited in the queue.
        dialect: The dialect in which its client reads arrays; None if the client never sent one.
        args: Positional arguments for the handler.
        kwargs: Keyword arguments for the handler.
        deadline_s: When its client stops waiting, in `time.monotonic`; None if it gave no deadline.
        decoded_jpeg_bytes: The size of its decoded JPEG frames.
        batch_key: Requests with equal keys can be answered in one call; None: alone only.
        rows: The B of its observation, where it has a batch key.
        error: Why it cannot be answered; None if it can.
        client_info: What its client tells about the robot; None if it tells nothing.
    """

    pending: PendingRequest
    dialect: Dialect | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None
    decoded_jpeg_bytes: int = 0
    batch_key: Hashable = None
    rows: int = 1
    error: BaseException | None = None
    client_info: ClientInfo | None = None

    @property
    def is_late(self) -> bool:
        """Whether its client has stopped waiting or left."""
        if self.pending.client_has_left:
            return True
        return self.deadline_s is not None and not time.monotonic() < self.deadline_s


class RequestCodec:
    """Decodes and encodes in the form and the dialect that each client understands. Thread-safe.

    Args:
        serializer: Converts between bytes and objects.
        reply_format: ``auto``, ``envelope`` or ``bare``, as `PolicyServer` takes it.
        run: The run of the server (`Lifecycle.run`), which enveloped replies contain.
    """

    def __init__(self, serializer: type[MsgSerializer], reply_format: str, run: str) -> None:
        self._serializer = serializer
        self._reply_format = reply_format
        self._run = run
        self._lock = threading.Lock()
        self._dialects: OrderedDict[bytes, Dialect] = OrderedDict()  # by connection

    def decode(self, pending: PendingRequest, limits: RequestLimits) -> DecodedRequest:
        """Decode the data of a request, JPEG frames included.

        Args:
            pending: The request. Its client is charged for what is expensive to decode.
            limits: What a request for actions may cost.

        Raises:
            ProtocolError: The data are malformed, or have too many items.
            SpecError: They do not fit the handler or the limits.
            PolicyError: The deadline is not a number.
        """
        endpoint = pending.endpoint
        data = pending.request.data
        decoded = Decoded(None, None)
        if data is not None:
            charge = pending.message.sender.rate_limiter.charge
            decoded = self._serializer.decode(data, max_items=endpoint.max_items, charge=charge)
        dialect = self._dialect_of(pending.connection, decoded.dialect)
        if endpoint.name != ACTION_ENDPOINT:
            args, kwargs = endpoint.arguments(decoded.value)
            return DecodedRequest(pending, dialect, args, kwargs)
        value = _decode_jpeg(decoded.value, limits)
        args, kwargs = endpoint.arguments(value)
        kwargs, deadline_s = _split_deadline(pending, kwargs)
        kwargs, client_info = _split_client_info(kwargs)
        jpeg_bytes = 0 if value is decoded.value else jpeg.video_bytes(value)
        return DecodedRequest(
            pending, dialect, args, kwargs, deadline_s, jpeg_bytes, client_info=client_info
        )

    def encode(self, request: Request, result: Any, dialect: Dialect | None) -> bytes:
        """Encode the reply to a request.

        Args:
            request: Says whether its client understands the enveloped form.
            result: What its handler returned: anything that the serializer can encode.
            dialect: The dialect of arrays in the reply; None for the serializer's default.

        Raises:
            ProtocolError: The result holds something that cannot be sent.
        """
        form = self._reply_format
        if form == "auto":
            form = "envelope" if request.envelope else "bare"
        run = self._run if request.envelope else None  # stock clients do not know this entry
        reply = envelope.success(result, run) if form == "envelope" else result
        return self._serializer.to_bytes(reply, dialect=dialect)

    def encode_options(self, options: Any) -> bytes:
        """Encode the options of a request, which makes them comparable."""
        return self._serializer.to_bytes(options)

    def _dialect_of(self, connection: bytes, seen: Dialect | None) -> Dialect | None:
        """The dialect of this request, or of the last one of its connection that had arrays."""
        if seen is not None and self._dialects.get(connection) is seen:
            return seen
        with self._lock:
            dialect = seen or self._dialects.pop(connection, None)
            if dialect is not None:
                self._dialects[connection] = dialect
                self._dialects.move_to_end(connection)
                if len(self._dialects) > MAX_CLIENTS:
                    self._dialects.popitem(last=False)
            return dialect


def encode_error(error: BaseException) -> bytes:
    """Encode an error reply, in the form that every client understands."""
    return MsgSerializer.to_bytes(envelope.failure(error_text(error)))


def encode_stale_run(run: str) -> bytes:
    """Encode the reply to a request that was made for another run of the server.

    Args:
        run: The current run, for the client to adopt.
    """
    return MsgSerializer.to_bytes(envelope.failure(STALE_RUN, run))


def _decode_jpeg(data: Any, limits: RequestLimits) -> Any:
    """The data of a request for actions with arrays in place of JPEG; the same object if none."""
    given = data["observation"] if isinstance(data, dict) and "observation" in data else data
    limits.check_rows(given)
    observation = jpeg.from_jpeg(given, limits.cameras)
    if observation is given:
        return data
    return observation if given is data else {**data, "observation": observation}


def _split_deadline(
    pending: PendingRequest, kwargs: dict[str, Any]
) -> tuple[dict[str, Any], float | None]:
    """The arguments without the deadline, an option that policies do not know; and the deadline."""
    options = kwargs.get("options")
    if not isinstance(options, dict) or DEADLINE_OPTION not in options:
        return kwargs, None
    left_s = options[DEADLINE_OPTION]
    if isinstance(left_s, bool) or not isinstance(left_s, (int, float)):
        kind = type(left_s).__name__
        raise PolicyError(f"options[{DEADLINE_OPTION!r}] must be seconds, got {kind}")
    others = {key: value for key, value in options.items() if key != DEADLINE_OPTION} or None
    return {**kwargs, "options": others}, pending.received_s + float(left_s)


def _split_client_info(kwargs: dict[str, Any]) -> tuple[dict[str, Any], ClientInfo | None]:
    """The arguments without what the client tells about its robot; and that.

    It is not left in the options, because requests with different options are not joined.
    """
    options = kwargs.get("options")
    if not isinstance(options, dict) or CLIENT_INFO not in options:
        return kwargs, None
    others = {key: value for key, value in options.items() if key != CLIENT_INFO} or None
    return {**kwargs, "options": others}, ClientInfo.of(options[CLIENT_INFO])
