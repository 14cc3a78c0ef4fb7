# SPDX-License-Identifier: Apache-2.0
"""Brings the newest values from the ROS thread to the pages, whatever the pages do. Pure."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

FRESH_S = 2.0  # a page that comes later is shown values of this age, and none that are older
MAX_PAGES = 8

Payload = str | bytes


class TooManyPagesError(Exception):
    """`MAX_PAGES` pages are open."""


class Mailbox:
    """What one page has not read yet: the newest payload of each key, so its size is bounded.

    Args:
        loop: The event loop of the page.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[str, Payload] = {}
        self._lock = threading.Lock()
        self._filled = asyncio.Event()

    def put(self, key: str, payload: Payload) -> None:
        """Replace the payload of a key, from any thread; never waits for the page.

        Raises:
            RuntimeError: The event loop of the page has ended.
        """
        with self._lock:
            was_empty = not self._waiting
            self._waiting[key] = payload
        if was_empty:
            self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self) -> list[Payload]:
        """Wait for payloads and take them all, at most one for each key."""
        await self._filled.wait()
        self._filled.clear()
        with self._lock:
            payloads = list(self._waiting.values())
            self._waiting.clear()
        return payloads


class Feed:
    """The newest payload of each key, for every open page; safe between threads.

    Args:
        now_s: A monotonic clock, s.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._newest: dict[str, tuple[float, Payload]] = {}
        self._mailboxes: set[Mailbox] = set()
        self._lock = threading.Lock()

    @property
    def is_watched(self) -> bool:
        """Whether a page is open."""
        return bool(self._mailboxes)

    def publish(self, key: str, payload: Payload) -> None:
        """Give a payload to every page; it replaces an older one of the key that was not read."""
        with self._lock:
            self._newest[key] = self._now_s(), payload
            mailboxes = list(self._mailboxes)
        for mailbox in mailboxes:
            try:
                mailbox.put(key, payload)
            except RuntimeError:
                self.leave(mailbox)

    def join(self) -> Mailbox:
        """Make a mailbox for a page of the running event loop, with what is still fresh in it.

        Raises:
            TooManyPagesError: `MAX_PAGES` pages are open.
        """
        mailbox = Mailbox(asyncio.get_running_loop())
        with self._lock:
            if len(self._mailboxes) >= MAX_PAGES:
                raise TooManyPagesError(f"{MAX_PAGES} pages are open: close one of them")
            oldest_s = self._now_s() - FRESH_S
            fresh = [(key, p) for key, (at_s, p) in self._newest.items() if at_s >= oldest_s]
            self._mailboxes.add(mailbox)
        for key, payload in fresh:
            mailbox.put(key, payload)
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        """Forget the mailbox of a page that has gone."""
        with self._lock:
            self._mailboxes.discard(mailbox)
