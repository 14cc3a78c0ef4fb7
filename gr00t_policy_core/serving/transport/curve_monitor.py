# SPDX-License-Identifier: Apache-2.0
"""Which connections of a ROUTER of libzmq have ended, and which handshakes failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.transport.base import Sender

_MONITOR_URL = "inproc://monitor"  # in the context of the one router
_SRCFD = int(zmq.SRCFD)
_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_EVENTS = int(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED) | _FAILED


@dataclass(frozen=True, slots=True)
class _Known:
    """Who sends by a descriptor."""

    client: bytes
    sender: Sender


class Departures:
    """Knows connections by the descriptors of their sockets. For one thread.

    A ROUTER is not told when a client goes (`ROUTER_NOTIFY` is in no release of libzmq). But its
    monitor tells which descriptors are closed, and each message by which one it came. A socket has
    one monitor at most, so it is read here for failed handshakes, too.

    Args:
        router: A listening socket.
        failed: Told of each handshake that failed: the value of libzmq's event.
    """

    def __init__(self, router: zmq.Socket[bytes], failed: Callable[[int], None]) -> None:
        self._router = router
        self._failed = failed
        router.monitor(_MONITOR_URL, _EVENTS)
        self._monitor = router.context.socket(zmq.PAIR)
        # Unlimited: libzmq waits for room in its own thread, without which no socket can be closed.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(_MONITOR_URL)
        self._by_descriptor: dict[int, _Known] = {}
        self._events: list[tuple[int, int]] = []  # seen and not settled: what happened, to which
        self._known_before: dict[int, _Known] = {}
        # The descriptor tells of what comes after a look that found nothing, so one is taken.
        self._read_events()

    @property
    def descriptor(self) -> int:
        """Readable once when something has happened; `begin` then tells what."""
        return int(self._monitor.fileno())

    def sender(self, frame: zmq.Frame, client: bytes, peer: str) -> tuple[Sender, Sender | None]:
        """Who sent a message, and who had its descriptor before, if somebody had.

        Args:
            frame: Of the message.
            client: The name that its connection has at the router.
            peer: Its network address.
        """
        try:
            descriptor = int(frame.get(_SRCFD))
        except zmq.ZMQError:  # it came within this process
            return Sender(addresses.machine(peer)), None
        known = self._by_descriptor.get(descriptor)
        if known is not None and known.client == client:
            return known.sender, None
        sender = Sender(addresses.machine(peer))
        self._by_descriptor[descriptor] = _Known(client, sender)
        return sender, None if known is None else known.sender

    def begin(self) -> bool:
        """Look at what has happened; whether a connection has ended.

        What has ended may have left messages, which are to be received before `settle`.
        """
        self._read_events()
        if all(event != zmq.EVENT_DISCONNECTED for event, _ in self._events):
            self._events.clear()
            return False
        self._known_before = self._by_descriptor.copy()
        return True

    def settle(self) -> list[Sender]:
        """Those that have ended, once all that they left has been received."""
        self._read_events()
        ended = []
        for at, (event, descriptor) in enumerate(self._events):
            if event != zmq.EVENT_DISCONNECTED:
                continue
            # Where another connection has the descriptor by now, only what was known before is
            # certainly of the one that has ended.
            is_taken = (int(zmq.EVENT_ACCEPTED), descriptor) in self._events[at:]
            known = (self._known_before if is_taken else self._by_descriptor).get(descriptor)
            if known is None:
                continue
            ended.append(known.sender)
            if self._by_descriptor.get(descriptor) is known:
                del self._by_descriptor[descriptor]
        self._events.clear()
        self._known_before = {}
        return ended

    def close(self) -> None:
        """Look no more; to be called before the router is closed."""
        self._router.disable_monitor()
        self._monitor.close(linger=0)

    def _read_events(self) -> None:
        while int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            message = recv_monitor_message(self._monitor)
            event, value = int(message["event"]), int(message["value"])
            if event == _FAILED:
                self._failed(value)
            else:
                self._events.append((event, value))
