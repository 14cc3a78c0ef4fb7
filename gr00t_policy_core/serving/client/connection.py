# SPDX-License-Identifier: Apache-2.0
"""The client's connection: one request, one reply, within a time, whatever the server does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import zmq

from gr00t_policy_core.errors import (
    AddressError,
    ClosedError,
    PolicyError,
    PolicyTimeoutError,
    ProtocolError,
)
from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.transport.channels import Channel, CurveChannel
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.transport.forks import forget_in_children
from gr00t_policy_core.serving.transport.tcp_client import PlainChannel

NOBODY = "no server listens there"
RECONNECT_S = 0.05  # between attempts to connect, doubled each time
MAX_RECONNECT_S = 1.0

logger = logging.getLogger(__name__)


class ServerChangedError(Exception):
    """Another server may answer than the one that was meant; nothing was computed. Internal."""


class RunChangedError(ServerChangedError):
    """The connection is the same, and another run of a server was at its end."""


class Link:
    """The connection that something was learnt on: the first one that it is used with."""

    __slots__ = ("_channel",)

    def __init__(self) -> None:
        self._channel: Channel | None = None

    def check(self, channel: Channel) -> None:
        """Make sure that it is this connection.

        Raises:
            ServerChangedError: It is another one.
        """
        if self._channel is None:
            self._channel = channel
        elif self._channel is not channel:
            raise ServerChangedError


class Connection:
    """Requests to one server, one at a time; threads take turns.

    It connects at the first request, and anew whenever a reply did not come, so that a late one
    is never taken for the answer to another request.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: Its port; not used with a Unix socket.
        max_message_bytes: A server that announces a larger reply is disconnected.
        keys: Encrypt, for the server that they name; None: plain text.
    """

    def __init__(
        self, host: str, port: int, *, max_message_bytes: int, keys: ClientKeys | None = None
    ) -> None:
        self.server = addresses.name(host, port)
        self._given = (host, port, max_message_bytes, keys)
        self._closed = threading.Event()
        self._turn = threading.Lock()
        self._channel: Channel | None = None
        forget_in_children(self)

    def exchange(
        self,
        endpoint: str,
        request: Sequence[Any],
        deadline: Deadline,
        link: Link | None = None,
    ) -> memoryview:
        """Send a request and wait for its reply.

        Args:
            endpoint: For the errors.
            request: The encoded request, in parts that are not copied.
            deadline: When to give up, waiting for other threads' requests included.
            link: The connection that the request was made for; None: whichever there is.

        Returns:
            The reply, in memory of its own.

        Raises:
            PolicyTimeoutError: No reply in time, or the connection was lost before it came.
            ProtocolError: What came is no reply, or too large.
            AddressError: Not an address, with keys.
            ClosedError: After `close`.
            ServerChangedError: The connection is another one; nothing was sent.
        """
        self._check_open(endpoint)
        if not self._turn.acquire(timeout=deadline.remaining_s):
            raise self._timeout(endpoint, deadline, "another thread's request is in progress")
        try:
            self._check_open(endpoint)
            channel = self._open_channel(endpoint, deadline)
            if link is not None:
                link.check(channel)
            reply = self._ask(channel, endpoint, request, deadline)
        except ServerChangedError:
            raise
        except BaseException as error:
            self._drop()
            if isinstance(error, ProtocolError):
                raise ProtocolError(f"{self.server} {endpoint}: {error}") from error
            if isinstance(error, zmq.ZMQError):
                raise PolicyError(f"{self.server} {endpoint}: {error}") from error
            raise
        finally:
            self._turn.release()
            if self._closed.is_set():
                self.close()  # it came in the meantime, and left the socket to this thread
        return reply

    def another(self) -> Connection:
        """A connection of its own to the same server."""
        host, port, max_message_bytes, keys = self._given
        return Connection(host, port, max_message_bytes=max_message_bytes, keys=keys)

    def close(self) -> None:
        """Disconnect. A request in progress in another thread ends as it would have, but does not
        wait any longer for a server that is not there."""
        self._closed.set()
        if self._turn.acquire(blocking=False):
            self._drop()
            self._turn.release()

    def _ask(
        self, channel: Channel, endpoint: str, request: Sequence[Any], deadline: Deadline
    ) -> memoryview:
        try:
            return channel.ask(request, deadline)
        except TimeoutError as error:
            raise self._timeout(endpoint, deadline, str(error)) from None
        except (EOFError, OSError) as error:
            raise PolicyTimeoutError(
                f"{self.server} {endpoint}: no answer: the connection was lost ({error})"
            ) from None

    def _open_channel(self, endpoint: str, deadline: Deadline) -> Channel:
        """The channel that there is, or another one."""
        if self._channel is not None:
            try:
                if self._channel.is_open(deadline):
                    return self._channel
            except (OSError, ProtocolError):
                logger.debug("%s is connected to again", self.server, exc_info=True)
            self._drop()
        self._channel = self._connect(endpoint, deadline)
        return self._channel

    def _connect(self, endpoint: str, deadline: Deadline) -> Channel:
        pause_s, why = RECONNECT_S, ""
        while True:
            try:
                return self._make_channel(deadline)
            except TimeoutError as error:  # the reason of an attempt that was not cut short counts
                raise self._timeout(endpoint, deadline, why or str(error)) from None
            except (ConnectionRefusedError, FileNotFoundError):
                why = NOBODY
            except AddressError:
                raise
            except OSError as error:
                why = error.strerror or str(error)
            if not deadline.remaining_s:
                raise self._timeout(endpoint, deadline, why)
            # Nobody tells when a server begins to listen; `close` tells when nobody waits for it.
            if self._closed.wait(min(pause_s, deadline.remaining_s)):
                raise self._closed_error(endpoint)
            pause_s = min(2 * pause_s, MAX_RECONNECT_S)

    def _make_channel(self, deadline: Deadline) -> Channel:
        host, port, limit, keys = self._given
        if keys is None:
            return PlainChannel(host, port, max_message_bytes=limit, deadline=deadline)
        return CurveChannel(host, port, max_message_bytes=limit, keys=keys, deadline=deadline)

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def forget(self) -> None:
        """In a forked child: connect anew."""
        self._channel = None
        self._turn = threading.Lock()
        was_closed, self._closed = self._closed.is_set(), threading.Event()
        if was_closed:
            self._closed.set()

    def _check_open(self, endpoint: str) -> None:
        if self._closed.is_set():
            raise self._closed_error(endpoint)

    def _closed_error(self, endpoint: str) -> ClosedError:
        return ClosedError(f"{self.server} {endpoint}: the client was closed")

    def _timeout(self, endpoint: str, deadline: Deadline, why: str) -> PolicyTimeoutError:
        return PolicyTimeoutError(
            f"{self.server} {endpoint}: no answer within {deadline.timeout_ms} ms ({why})"
        )
