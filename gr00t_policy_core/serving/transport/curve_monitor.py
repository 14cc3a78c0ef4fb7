# SPDX-License-Identifier: Apache-2.0
"""Which connections of a libzmq ROUTER have ended, and which handshakes failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.transport.base import Sender

_MONITOR_URL = "inproc://monitor"  # in the context of the one router
_SRCFD = int(zmq.SRCFD)
_HANDSHAKE_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_EVENTS = int(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED) | _HANDSHAKE_FAILED


@dataclass(frozen=True, slots=True)
class _Connection:
    """A connection that has sent something: its name at the router, and its state."""

    name: bytes
    sender: Sender


class ConnectionMonitor:
    """Identifies connections by the file descriptors of their sockets. For one thread.

    A ROUTER does not report that a client has left (`ROUTER_NOTIFY` is in no release of libzmq).
    But its monitor reports which descriptors are closed, and each message carries the descriptor
    that it arrived on. A socket has at most one monitor, so failed handshakes are read here, too.

    Args:
        router: The listening socket of libzmq whose connections are followed.
        on_failed_handshake: Called with the value of libzmq's event for each failed handshake.
    """

    def __init__(
        self, router: zmq.Socket[bytes], on_failed_handshake: Callable[[int], None]
    ) -> None:
        self._router = router
        self._on_failed_handshake = on_failed_handshake
        router.monitor(_MONITOR_URL, _EVENTS)
        self._monitor = router.context.socket(zmq.PAIR)
        # Unlimited: libzmq waits for room in its own thread, without which no socket can be closed.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(_MONITOR_URL)
        self._by_descriptor: dict[int, _Connection] = {}
        self._events: list[tuple[int, int]] = []  # read, not handled: the event, its descriptor
        self._by_descriptor_before: dict[int, _Connection] = {}  # as of `has_disconnections`
        # The monitor's descriptor becomes readable only after a look that found nothing.
        self._read_events()

    @property
    def descriptor(self) -> int:
        """Becomes readable when there is an event; `has_disconnections` then reads it."""
        return int(self._monitor.fileno())

    def identify(self, frame: zmq.Frame, name: bytes, peer: str) -> tuple[Sender, Sender | None]:
        """The connection that a message arrived on.

        Args:
            frame: A frame of the message.
            name: The name of the connection at the router.
            peer: The network address of the connection.

        Returns:
            Its state; and, where the descriptor belonged to another connection before, the state of
            that one, which has ended.
        """
        try:
            descriptor = int(frame.get(_SRCFD))
        except zmq.ZMQError:  # sent from within this process
            return Sender(addresses.machine(peer)), None
        known = self._by_descriptor.get(descriptor)
        if known is not None and known.name == name:
            return known.sender, None
        sender = Sender(addresses.machine(peer))
        self._by_descriptor[descriptor] = _Connection(name, sender)
        return sender, None if known is None else known.sender

    def has_disconnections(self) -> bool:
        """Read the events; whether a connection has ended.

        It can have left messages, which must be received before `take_disconnected`.
        """
        self._read_events()
        if all(event != zmq.EVENT_DISCONNECTED for event, _ in self._events):
            self._events.clear()
            return False
        self._by_descriptor_before = self._by_descriptor.copy()
        return True

    def take_disconnected(self) -> list[Sender]:
        """The connections that have ended, after all that they left has been received."""
        self._read_events()
        disconnected = []
        for at, (event, descriptor) in enumerate(self._events):
            if event != zmq.EVENT_DISCONNECTED:
                continue
            # Where another connection has the descriptor by now, only the one that had it before
            # has certainly ended.
            is_reused = (int(zmq.EVENT_ACCEPTED), descriptor) in self._events[at:]
            known = (self._by_descriptor_before if is_reused else self._by_descriptor).get(
                descriptor
            )
            if known is None:
                continue
            disconnected.append(known.sender)
            if self._by_descriptor.get(descriptor) is known:
                del self._by_descriptor[descriptor]
        self._events.clear()
        self._by_descriptor_before = {}
        return disconnected

    def close(self) -> None:
        """Stop monitoring; to be called before the router is closed."""
        self._router.disable_monitor()
        self._monitor.close(linger=0)

    def _read_events(self) -> None:
        while int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            message = recv_monitor_message(self._monitor)
            event, value = int(message["event"]), int(message["value"])
            if event == _HANDSHAKE_FAILED:
                self._on_failed_handshake(value)
            else:
                self._events.append((event, value))
