# SPDX-License-Identifier: Apache-2.0
"""The connections that a listener has: how many there may be, and which has to go for another."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from gr00t_policy_core.serving.transport import descriptors
from gr00t_policy_core.serving.transport.base import LINGER_S
from gr00t_policy_core.serving.transport.tcp_session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What clients may take of a server in plain text.

    Args:
        message_bytes: A client that announces a larger frame is disconnected; a message whose
            frames are larger together is refused.
        receiving_bytes: What all of them may have on the way at once.
        connections: So many at once; fewer where the process may not have as many descriptors.
        per_address: So many from one address.
    """

    message_bytes: int
    receiving_bytes: int
    connections: int
    per_address: int


class Connections:
    """Sessions by name. One thread adds; each session's own takes it out.

    Args:
        limits: How many there may be.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._most = descriptors.spare(limits.connections)
        self._most_per_address = limits.per_address
        self._sessions: dict[bytes, Session] = {}
        if self._most < limits.connections:
            logger.warning(
                "at most %d clients can be connected at once, not %d: this process may have no "
                "more descriptors (raise ulimit -n, or LimitNOFILE)",
                self._most,
                limits.connections,
            )

    def find(self, name: bytes) -> Session | None:
        """The session of a name, while there is one."""
        return self._sessions.get(name)

    def all(self) -> list[Session]:
        """Those that there are now."""
        return list(self._sessions.values())

    def add(self, session: Session) -> None:
        self._sessions[session.name] = session

    def remove(self, session: Session) -> None:
        del self._sessions[session.name]

    def make_room(self, address: str) -> None:
        """End a session where there are too many for another one of an address."""
        sessions = self.all()
        neighbours = [session for session in sessions if session.sender.address == address]
        if len(neighbours) >= self._most_per_address:
            self._end_least(neighbours, f"its address has {len(neighbours)} connections")
        elif len(sessions) >= self._most:
            self._end_least(sessions, f"{len(sessions)} clients are connected")

    def give_one_up(self, why: str) -> bool:
        """End a session, since the system has no room for another one; whether there was one."""
        sessions = self.all()
        if sessions:
            self._end_least(sessions, why)
        return bool(sessions)

    def _end_least(self, sessions: list[Session], why: str) -> None:
        """End the one that loses least by it: of several alike, of the address that has most."""
        of_address = Counter(session.sender.address for session in sessions)

        def standing(session: Session) -> tuple[bool, bool, int, bool, float]:
            has_shaken_hands, busy, heard_s = session.standing
            sender = session.sender
            return has_shaken_hands, sender.proven, -of_address[sender.address], busy, heard_s

        least = min(sessions, key=standing)
        logger.debug("%s has to go: %s", least.peer, why)
        least.end(at_once=True)
        least.join(LINGER_S)
