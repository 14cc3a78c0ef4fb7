# SPDX-License-Identifier: Apache-2.0
"""What is around the data: requests as the server sees them, replies in both forms.

A request is a map ``{"endpoint": str, "data": …, "api_token": str, "envelope": bool, "client":
str, "run": str}``, each entry optional. A bare reply is the data itself, as clients of
Isaac-GR00T expect it; an enveloped one is ``{"status": "success", "data": …, "run": str}``. Errors
are ``{"status": "error", "error": str}`` in both. ``run`` names one run of a server: a client
learns it from its replies, and a request that names another one is refused before anything is
computed, with the server's own in the reply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.serving.wire.error_text import MAX_ERROR_CHARS
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS, Charge, Reader

MAX_CLIENT_CHARS = 64
MAX_RUN_CHARS = 64
DEFAULT_ENDPOINT = "get_action"

KEPT_HEADS = 256
KEPT_LENGTHS = 8
MAX_HEAD_BYTES = 512
HEAD_ITEMS = 64  # of what is not data


@dataclass(frozen=True, slots=True)
class Request:
    """The outermost map of a request; what it carries is not decoded yet.

    Args:
        endpoint: Which endpoint; None where it was no string.
        token: The api token, whatever its type; None where there is none.
        envelope: The client understands enveloped replies.
        data: The bytes of the data, still encoded; None where there are none.
        client: What it calls itself, the same after a reconnection; None where it does not.
        run: The run of the server that it was made for; None: for any.
    """

    endpoint: str | None
    token: object
    envelope: bool
    data: memoryview | None
    client: str | None = None
    run: str | None = None


class RequestReader:
    """Reads requests without building anything of their data.

    Safe in several threads: what one of them learns and another overwrites is learned again. A
    client's requests begin alike, up to their data: what bytes that were read before say is
    known (measured: 0.9 µs; word by word 5).

    Args:
        max_items: Of the data of a request for an endpoint: keys, values and list items.
    """

    def __init__(self, max_items: Callable[[str], int] = lambda endpoint: MAX_ITEMS) -> None:
        self._max_items = max_items
        self._known: dict[bytes, Request] = {}  # by all that is before the data
        self._lengths: tuple[int, ...] = ()  # of those bytes

    def read(self, message: memoryview, charge: Charge | None = None) -> Request:
        """Read a request.

        Args:
            message: As it came.
            charge: Told how many items were passed over to find what follows the data, also where
                that fails.

        Raises:
            ProtocolError: Malformed, or not a map.
        """
        for length in self._lengths:
            known = self._known.get(message[:length].tobytes())
            if known is not None:
                return Request(
                    known.endpoint,
                    known.token,
                    known.envelope,
                    message[length:],
                    known.client,
                    known.run,
                )
        reader = Reader(message, max_items=HEAD_ITEMS)
        fields: dict[str | bytes, Any] = {"endpoint": DEFAULT_ENDPOINT}
        data = None
        for entries_left in reversed(range(reader.map_size())):
            key = reader.key()
            if key in ("endpoint", "api_token", "envelope", "client", "run"):
                fields[key] = reader.plain()
            elif key == "data" and not entries_left:
                # Not passed over only to find the end: whoever decodes it sees whether it is one
                # value.
                self._learn(message[: reader.at], _request(fields, None))
                data = message[reader.at :]
                break
            elif key == "data":
                start, endpoint = reader.at, fields["endpoint"]
                try:
                    reader.skip(self._max_items(endpoint if isinstance(endpoint, str) else ""))
                finally:
                    if charge is not None:
                        charge(reader.items)
                data = message[start : reader.at]
            else:
                reader.skip()
        else:
            reader.finish()
        return _request(fields, data)

    def _learn(self, head: memoryview, request: Request) -> None:
        if len(head) > MAX_HEAD_BYTES:
            return
        lengths = {*self._lengths, len(head)}
        if len(self._known) >= KEPT_HEADS or len(lengths) > KEPT_LENGTHS:
            self._known.clear()
            lengths = {len(head)}
        self._known[bytes(head)] = request
        self._lengths = tuple(lengths)


def _request(fields: dict[str | bytes, Any], data: memoryview | None) -> Request:
    endpoint, client, run = fields["endpoint"], fields.get("client"), fields.get("run")
    return Request(
        endpoint=endpoint if isinstance(endpoint, str) else None,
        token=fields.get("api_token"),
        envelope=fields.get("envelope") is True,
        data=data,
        client=client[:MAX_CLIENT_CHARS] if isinstance(client, str) else None,
        run=run if isinstance(run, str) else None,
    )


def success(data: Any, run: str | None = None) -> dict[str, Any]:
    """The enveloped form of a reply."""
    reply = {"status": "success", "data": data}
    return reply if run is None else {**reply, "run": run}


def failure(error: str, run: str | None = None) -> dict[str, Any]:
    """The reply that says what went wrong.

    Args:
        error: In words.
        run: Of the server, where the request was made for another one, and not computed.
    """
    reply = {"status": "error", "error": error}
    return reply if run is None else {**reply, "run": run}


def run_of(reply: Any) -> str | None:
    """The run of the server that a reply tells; None where it tells none."""
    if not isinstance(reply, dict) or _status(reply) not in ("success", "error"):
        return None
    run = reply.get("run")
    return run if isinstance(run, str) and len(run) <= MAX_RUN_CHARS else None


def is_envelope(reply: Any) -> bool:
    """Whether a reply is of the enveloped form, and no error."""
    return isinstance(reply, dict) and _status(reply) == "success" and "data" in reply


def normalise_reply(reply: Any) -> dict[str, Any]:
    """Bring a reply of either form into the enveloped one.

    A bare map with an entry ``"error"`` is an error, as clients of Isaac-GR00T understand it.
    """
    if not isinstance(reply, dict):
        return success(reply)
    if is_envelope(reply):
        return success(reply["data"])
    if "error" in reply:
        return failure(str(reply["error"])[:MAX_ERROR_CHARS])
    if _status(reply) == "error":
        return failure("the server says no more than that it failed")
    return success(reply)


def _status(reply: dict[Any, Any]) -> str | None:
    status = reply.get("status")
    return status if isinstance(status, str) else None
