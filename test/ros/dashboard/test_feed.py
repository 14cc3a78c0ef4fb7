# SPDX-License-Identifier: Apache-2.0
"""What a page has not read stays small, and nobody waits for a page."""

import asyncio
import threading

import pytest

from gr00t_ros.dashboard.feed import FRESH_S, MAX_PAGES, Feed, TooManyPagesError


def test_a_page_that_does_not_read_keeps_the_newest_of_each_kind() -> None:
    async def read() -> list[str | bytes]:
        feed = Feed()
        mailbox = feed.join()

        def publish() -> None:
            for number in range(10_000):
                feed.publish("control", str(number))
                feed.publish("video.front", bytes([number % 256]))

        thread = threading.Thread(target=publish)
        thread.start()
        await asyncio.to_thread(thread.join)
        return await mailbox.take()

    assert asyncio.run(read()) == ["9999", bytes([9999 % 256])]


def test_every_value_reaches_a_page_that_reads() -> None:
    async def read() -> list[str | bytes]:
        feed = Feed()
        mailbox = feed.join()
        read: list[str | bytes] = []
        for number in range(100):
            feed.publish("control", str(number))
            read += await mailbox.take()
        return read

    assert asyncio.run(read()) == [str(number) for number in range(100)]


def test_a_later_page_is_shown_what_is_fresh() -> None:
    now_s = [0.0]

    async def read() -> list[str | bytes]:
        feed = Feed(now_s=lambda: now_s[0])
        feed.publish("recorder", "old")
        now_s[0] = FRESH_S + 0.1
        feed.publish("control", "new")
        return await feed.join().take()

    assert asyncio.run(read()) == ["new"]


def test_pages_are_counted_and_limited() -> None:
    async def join() -> None:
        feed = Feed()
        assert not feed.is_watched
        mailboxes = [feed.join() for _ in range(MAX_PAGES)]
        with pytest.raises(TooManyPagesError, match="close one of them"):
            feed.join()
        for mailbox in mailboxes:
            assert feed.is_watched
            feed.leave(mailbox)
        assert not feed.is_watched

    asyncio.run(join())


def test_a_page_whose_server_has_ended_is_forgotten() -> None:
    feed = Feed()

    async def join() -> None:
        feed.join()

    asyncio.run(join())
    feed.publish("control", "a")
    assert not feed.is_watched
