# SPDX-License-Identifier: Apache-2.0
"""Refused messages: counted for each stream and cause, told while they are new."""

from __future__ import annotations

from gr00t_ros.node.rejected_messages import RECENT_S, RejectedMessages


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_refusals_are_counted_by_stream_and_cause_and_the_last_one_is_told() -> None:
    rejected = RejectedMessages(Clock())
    rejected.add("video.front", "cannot be read", "cut")
    rejected.add("video.front", "cannot be read", "grey")
    rejected.add("video.front", "stamped ahead", "by 2 s")
    rejected.add("state.arm", "cannot be read", "1 value")
    assert rejected.count("video.front") == 3
    assert rejected.recent() == [
        "video.front: 2 messages rejected, cannot be read (the last: grey)",
        "video.front: 1 message rejected, stamped ahead (the last: by 2 s)",
        "state.arm: 1 message rejected, cannot be read (the last: 1 value)",
    ]


def test_they_are_no_news_after_a_while_and_still_counted() -> None:
    clock = Clock()
    rejected = RejectedMessages(clock)
    rejected.add("video.front", "cannot be read", "cut")
    clock.now_s += RECENT_S + 0.1
    assert rejected.recent() == []
    assert rejected.count("video.front") == 1
    rejected.add("video.front", "cannot be read", "cut")
    assert rejected.recent()[0].startswith("video.front: 2 messages rejected")


def test_the_latest_of_a_stream_is_the_last_whatever_its_cause() -> None:
    clock = Clock()
    rejected = RejectedMessages(clock)
    assert rejected.latest("video.front") is None
    for cause in ("cannot be read", "stamped ahead", "cannot be read"):
        clock.now_s += 1.0
        rejected.add("video.front", cause, "")
        latest = rejected.latest("video.front")
        assert latest is not None
        assert latest.cause == cause
