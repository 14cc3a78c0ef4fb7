# SPDX-License-Identifier: Apache-2.0
"""Refused messages: counted for each stream and cause, told while they are new."""

from __future__ import annotations

from gr00t_ros.policy.rejected_messages import NEWS_S, Refusals


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_refusals_are_counted_by_stream_and_cause_and_the_last_one_is_told() -> None:
    refusals = Refusals(Clock())
    refusals.add("video.front", "cannot be read", "cut")
    refusals.add("video.front", "cannot be read", "grey")
    refusals.add("video.front", "stamped ahead", "by 2 s")
    refusals.add("state.arm", "cannot be read", "1 value")
    assert refusals.count("video.front") == 3
    assert refusals.news() == [
        "video.front: 2 messages refused, cannot be read (the last: grey)",
        "video.front: 1 message refused, stamped ahead (the last: by 2 s)",
        "state.arm: 1 message refused, cannot be read (the last: 1 value)",
    ]


def test_they_are_no_news_after_a_while_and_still_counted() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    refusals.add("video.front", "cannot be read", "cut")
    clock.now_s += NEWS_S + 0.1
    assert refusals.news() == []
    assert refusals.count("video.front") == 1
    refusals.add("video.front", "cannot be read", "cut")
    assert refusals.news()[0].startswith("video.front: 2 messages refused")


def test_the_latest_of_a_stream_is_the_last_whatever_its_cause() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    assert refusals.latest("video.front") is None
    for cause in ("cannot be read", "stamped ahead", "cannot be read"):
        clock.now_s += 1.0
        refusals.add("video.front", cause, "")
        latest = refusals.latest("video.front")
        assert latest is not None
        assert latest.cause == cause
