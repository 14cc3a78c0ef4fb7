# SPDX-License-Identifier: Apache-2.0
"""How old the newest observation would be, while a chunk is played whole."""

from __future__ import annotations

import pytest

from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.observation_watch import ObservationWatch

LIMIT_S = 2.0


class Streams:
    """Streams that have reached an instant, or one of which is stale, and the clock of the node."""

    def __init__(self) -> None:
        self.now_s = self.reached_s = 100.0
        self.is_stale = False
        self.watch = ObservationWatch(
            self._reached_ns, lambda: round(self.now_s * 1e9), limit_s=LIMIT_S
        )

    def _reached_ns(self) -> int:
        if self.is_stale:
            raise NotReadyError("video.front: stale on /camera", "newest message is 1.20 s old")
        return round(self.reached_s * 1e9)


def test_streams_that_go_on_are_no_problem() -> None:
    streams = Streams()
    for _ in range(20):
        streams.now_s += 0.5
        streams.reached_s = streams.now_s - 0.1
        assert not streams.watch.problem()


def test_a_stale_stream_is_a_problem_once_the_last_observation_is_too_old() -> None:
    streams = Streams()
    streams.watch.begin(round(99.5 * 1e9))
    streams.is_stale = True
    streams.now_s = 101.5
    assert not streams.watch.problem()
    streams.now_s = 101.6
    assert streams.watch.problem() == (
        "the newest observation would be 2.1 s old: video.front: stale on /camera: newest message "
        "is 1.20 s old"
    )
    streams.is_stale, streams.reached_s = False, 101.5
    assert not streams.watch.problem()


def test_a_stream_that_may_be_older_than_the_limit_is_a_problem_all_the_same() -> None:
    streams = Streams()
    streams.now_s = 102.1
    assert streams.watch.problem() == "the newest observation would be 2.1 s old"


@pytest.mark.parametrize("set_s", [-90.0, 900.0])
def test_a_clock_that_was_set_is_judged_by_the_streams_of_its_own_time(set_s: float) -> None:
    streams = Streams()
    streams.now_s += set_s
    streams.reached_s = streams.now_s
    assert not streams.watch.problem()
