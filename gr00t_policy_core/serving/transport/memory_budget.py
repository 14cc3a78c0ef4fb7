# SPDX-License-Identifier: Apache-2.0
"""A memory budget that all connections of a server share."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gr00t_policy_core.serving.transport.base import Sender

UNAUTHENTICATED_MESSAGE_BYTES = 32 * 2**20  # the largest message before the token was seen
UNAUTHENTICATED_SHARE = 0.5  # of the budget, for all connections whose token was not seen


@dataclass(slots=True, eq=False)
class Reservation:
    """Memory that one connection holds.

    Args:
        sender: The connection that receives the bytes.
        disconnect: Ends the connection, given the reason, so that its memory is freed.
        since_s: When the reservation was made, in `time.monotonic`.
        size: Reserved so far, in bytes.
    """

    sender: Sender
    disconnect: Callable[[str], None]
    since_s: float
    size: int = 0


class MemoryBudget:
    """Keeps the memory of all connections within a budget. Thread-safe.

    Where a reservation does not fit, the connection is disconnected that holds the most bytes
    times seconds at the address that holds the most bytes. Connections whose token has not been
    seen go first, and can use only a share of the budget.

    Args:
        max_bytes: The budget; a single message always fits.
        requires_token: Whether connections have to show a token; if not, all are treated alike.
    """

    def __init__(self, max_bytes: int, *, requires_token: bool) -> None:
        self._max_bytes = max_bytes
        self._requires_token = requires_token
        self._lock = threading.Lock()
        self._reservations: dict[Sender, Reservation] = {}
        self._reserved_bytes = 0

    @property
    def reserved_bytes(self) -> int:
        """Reserved by all connections together."""
        return self._reserved_bytes

    def is_unauthenticated(self, sender: Sender) -> bool:
        """Whether the connection has yet to show the token."""
        return self._requires_token and not sender.authenticated

    def reserve(self, sender: Sender, size: int, disconnect: Callable[[str], None]) -> None:
        """Add to the reservation of a connection, and disconnect others where it does not fit."""
        with self._lock:
            reservation = self._reservations.get(sender)
            if reservation is None:
                reservation = Reservation(sender, disconnect, time.monotonic())
                self._reservations[sender] = reservation
            reservation.size += size
            self._reserved_bytes += size
            if self._reserved_bytes <= self._max_bytes and not self.is_unauthenticated(sender):
                return
            evicted = self._make_room(reservation)
        for victim in evicted:
            victim.disconnect(
                f"it held {victim.size} bytes for {time.monotonic() - victim.since_s:.1f} s, and "
                "others need the memory"
            )

    def release(self, sender: Sender) -> None:
        """Free what a connection has reserved."""
        with self._lock:
            reservation = self._reservations.pop(sender, None)
            if reservation is not None:
                self._reserved_bytes -= reservation.size

    def _make_room(self, latest: Reservation) -> list[Reservation]:
        evicted = []
        if self.is_unauthenticated(latest.sender):
            share = int(self._max_bytes * UNAUTHENTICATED_SHARE)
            evicted += self._evict(latest, share, unauthenticated_only=True)
        return evicted + self._evict(latest, self._max_bytes, unauthenticated_only=False)

    def _evict(
        self, latest: Reservation, limit: int, *, unauthenticated_only: bool
    ) -> list[Reservation]:
        """Remove reservations other than the latest until they are within a limit."""
        evicted: list[Reservation] = []
        while True:
            counted = [
                reservation
                for reservation in self._reservations.values()
                if not unauthenticated_only or self.is_unauthenticated(reservation.sender)
            ]
            others = [reservation for reservation in counted if reservation is not latest]
            if not others or sum(reservation.size for reservation in counted) <= limit:
                return evicted
            victim = self._first_to_go(others)
            del self._reservations[victim.sender]
            self._reserved_bytes -= victim.size
            evicted.append(victim)

    def _first_to_go(self, others: list[Reservation]) -> Reservation:
        bytes_by_address: Counter[str] = Counter()
        for reservation in self._reservations.values():
            bytes_by_address[reservation.sender.address] += reservation.size
        now_s = time.monotonic()
        return max(
            others,
            key=lambda reservation: (
                self.is_unauthenticated(reservation.sender),
                bytes_by_address[reservation.sender.address],
                reservation.size * (now_s - reservation.since_s),
            ),
        )
