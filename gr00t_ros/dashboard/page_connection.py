# SPDX-License-Identifier: Apache-2.0
"""An HTTP connection to the dashboard that gives way to newer ones until it has asked something."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_WAITING = 32  # connections that have sent no request yet


class PageConnection(H11Protocol):
    """A connection of which at most `MAX_WAITING` wait for their first request.

    Whoever has no token can open connections and say nothing. The oldest of these are closed for
    new ones, so that a page which sends its request at once is always answered.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, and close the connection that has waited longest where there are too many."""
        self._opened_s = self.loop.time()
        waiting = [c for c in self.connections if isinstance(c, PageConnection) and c.is_waiting]
        if len(waiting) >= MAX_WAITING:
            min(waiting, key=lambda connection: connection._opened_s).transport.close()
        super().connection_made(transport)

    @property
    def is_waiting(self) -> bool:
        """Whether no request has come yet."""
        return self.cycle is None and not self.transport.is_closing()
