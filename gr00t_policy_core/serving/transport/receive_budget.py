# SPDX-License-Identifier: Apache-2.0
"""Memory for what is being received: one budget for all connections."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gr00t_policy_core.serving.transport.base import Sender

UNPROVEN_BYTES = 32 * 2**20  # of one message, from a connection that has not shown the token
UNPROVEN_PART = 0.5  # of the budget, for all of these


@dataclass(slots=True, eq=False)
class Receiving:
    """A message that is being received.

    Args:
        sender: Whose.
        disconnect: Ends its connection, so that its memory is free again. Given the reason.
        since_s: When it began, in `time.monotonic`.
        size: Announced by now, in bytes.
    """

    sender: Sender
    disconnect: Callable[[str], None]
    since_s: float
    size: int = 0


class Intake:
    """Keeps what is being received within a budget; thread-safe.

    Where a message does not fit, the connection goes that holds most for longest: of the address
    that holds most, the one with most bytes times seconds. Connections that have not shown the
    token go first, and have a part of the budget only.

    Args:
        max_bytes: The budget; one message always fits.
        token: Connections have to show one. Without, all are alike.
    """

    def __init__(self, max_bytes: int, *, token: bool) -> None:
        self._max_bytes = max_bytes
        self._token = token
        self._lock = threading.Lock()
        self._receiving: dict[Sender, Receiving] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Announced by all together."""
        return self._bytes

    def is_unproven(self, sender: Sender) -> bool:
        """Whether a connection has still to show the token."""
        return self._token and not sender.proven

    def begin(self, sender: Sender, size: int, disconnect: Callable[[str], None]) -> None:
        """More bytes of a message of a connection are announced."""
        with self._lock:
            receiving = self._receiving.get(sender)
            if receiving is None:
                receiving = Receiving(sender, disconnect, time.monotonic())
                self._receiving[sender] = receiving
            receiving.size += size
            self._bytes += size
            if self._bytes <= self._max_bytes and not self.is_unproven(sender):
                return
            victims = self._make_room(receiving)
        for victim in victims:
            victim.disconnect(
                f"it had {victim.size} bytes on the way for "
                f"{time.monotonic() - victim.since_s:.1f} s, and others need the memory"
            )

    def end(self, sender: Sender) -> None:
        """The message was received, or its connection has ended."""
        with self._lock:
            receiving = self._receiving.pop(sender, None)
            if receiving is not None:
                self._bytes -= receiving.size

    def _make_room(self, latest: Receiving) -> list[Receiving]:
        victims = []
        if self.is_unproven(latest.sender):
            victims += self._shrink(latest, int(self._max_bytes * UNPROVEN_PART), unproven=True)
        return victims + self._shrink(latest, self._max_bytes, unproven=False)

    def _shrink(self, latest: Receiving, limit: int, *, unproven: bool) -> list[Receiving]:
        """Take out what is beyond a limit, of all messages or of unproven connections only."""
        victims: list[Receiving] = []
        while True:
            counted = [
                one
                for one in self._receiving.values()
                if not unproven or self.is_unproven(one.sender)
            ]
            others = [one for one in counted if one is not latest]
            if not others or sum(one.size for one in counted) <= limit:
                return victims
            victim = self._slowest(others)
            del self._receiving[victim.sender]
            self._bytes -= victim.size
            victims.append(victim)

    def _slowest(self, others: list[Receiving]) -> Receiving:
        by_address: Counter[str] = Counter()
        for one in self._receiving.values():
            by_address[one.sender.address] += one.size
        now_s = time.monotonic()
        return max(
            others,
            key=lambda one: (
                self.is_unproven(one.sender),
                by_address[one.sender.address],
                one.size * (now_s - one.since_s),
            ),
        )
