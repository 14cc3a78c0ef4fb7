# SPDX-License-Identifier: Apache-2.0
"""Clients of two services, one of which lets a robot move and one of which keeps it from moving.

ROS keeps the requests to one service in order, but not those to two: a start that the network or a
busy node delays may be carried out after a stop that was asked for later, and answered before.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from rclpy.client import Client
from rclpy.task import Future
from std_srvs.srv import Trigger


class ServiceClient(Protocol):
    """What is used of rclpy's client."""

    @property
    def srv_name(self) -> str: ...

    def service_is_ready(self) -> bool: ...

    def call_async(self, request: Any) -> Future[Any]: ...

    def remove_pending_request(self, future: Future[Any]) -> None: ...


class OppositeClients:
    """Sees to it that no start outlasts a stop that was asked for after it.

    Where a start is answered only after the stop was asked for, the stop is asked for again. A stop
    that is carried out after a later start is left alone: the robot then stands still.

    Args:
        start: The client of a service that lets the robot move.
        stop: The client of one that keeps it from moving, as often as it is called: a Trigger.
        undoes_late_starts: Whether a start that was given up is undone when it is carried out all
            the same, unless another one was asked for since.

    Attributes:
        start: Call the service by this client; a request that was given up is still followed.
        stop: Call the service by this client.
    """

    def __init__(self, start: Client, stop: Client, *, undoes_late_starts: bool = False) -> None:
        self._stop = stop
        self._stops = 0
        self._undoes_late_starts = undoes_late_starts
        self._newest: Future[Any] | None = None
        self._given_up: Future[Any] | None = None
        self.start: ServiceClient = _StartClient(start, self)
        self.stop: ServiceClient = _StopClient(stop, self)

    def follow(self, started: Future[Any]) -> None:
        """Ask for a stop again as soon as a start is answered, if one was asked for until then."""
        self._newest = started
        started.add_done_callback(partial(self._on_started, self._stops))

    def give_up(self, started: Future[Any]) -> None:
        """Nobody waits for the answer to a start any more."""
        if self._undoes_late_starts:
            self._given_up = started
            if started.done():  # at this moment: another thread takes the answers
                self._undo(started)

    def note_stop(self) -> None:
        """A stop is asked for."""
        self._stops += 1

    def _on_started(self, stops_before: int, started: Future[Any]) -> None:
        if self._stops != stops_before:
            self._stop.call_async(Trigger.Request())
        else:
            self._undo(started)

    def _undo(self, started: Future[Any]) -> None:
        if started is self._given_up and started is self._newest:
            self._stop.call_async(Trigger.Request())


class _ClientOfTwo:
    """One of two clients."""

    def __init__(self, client: Client, both: OppositeClients) -> None:
        self._client = client
        self._both = both

    @property
    def srv_name(self) -> str:
        return str(self._client.srv_name)

    def service_is_ready(self) -> bool:
        return bool(self._client.service_is_ready())


class _StartClient(_ClientOfTwo):
    def call_async(self, request: Any) -> Future[Any]:
        future = self._client.call_async(request)
        self._both.follow(future)
        return future

    def remove_pending_request(self, future: Future[Any]) -> None:
        """Give it up; its answer is still followed, since it may come after a stop."""
        self._both.give_up(future)


class _StopClient(_ClientOfTwo):
    def call_async(self, request: Any) -> Future[Any]:
        self._both.note_stop()
        return self._client.call_async(request)

    def remove_pending_request(self, future: Future[Any]) -> None:
        self._client.remove_pending_request(future)
