# SPDX-License-Identifier: Apache-2.0
"""When the inference worker asks, by a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import wait_until
from worker_rig import Clock, Rig

from gr00t_ros.policy.observation_builder import NotReadyError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steady_rig(make_rig: Callable[..., Rig], clock: Clock) -> Rig:
    """Asks every 0.1 s of `clock`, and has had its first answer."""
    rig = make_rig(interval_s=0.1, now_s=clock)
    rig.worker.start()
    rig.wait_for_answers(1)
    return rig


def answer_first_after(latency_s: float, rig: Rig, clock: Clock) -> None:
    """Start, and let the first answer come that late."""
    rig.stamped = True
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    clock.now_s += latency_s
    rig.policy.go.set()
    rig.wait_for_answers(1)


def test_observations_are_taken_at_the_replan_interval_of_the_clock(
    steady_rig: Rig, clock: Clock
) -> None:
    times_s = []
    for _ in range(40):
        before = len(steady_rig.published)
        clock.advance(0.0125)
        times_s += [clock.now_s - 100.0] * (len(steady_rig.published) - before)
    assert times_s == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.013)


def test_after_a_stall_the_cadence_starts_anew_without_a_burst(
    steady_rig: Rig, clock: Clock
) -> None:
    for seconds, answers in ((7.0, 2), (0.09, 2), (0.02, 3)):
        clock.advance(seconds)
        assert len(steady_rig.published) == answers


def test_while_the_clock_stands_still_nothing_is_asked(steady_rig: Rig, clock: Clock) -> None:
    clock.advance(0.0)
    clock.advance(0.0)
    assert len(steady_rig.published) == 1


def test_the_interval_begins_once_the_session_is_prepared(
    make_rig: Callable[..., Rig], clock: Clock
) -> None:
    rig = make_rig(interval_s=0.1, now_s=clock)

    def begin() -> None:
        clock.now_s = 1000.0  # the first /clock of a simulation

    rig.meanwhile = begin
    rig.worker.start()
    rig.wait_for_answers(1)
    clock.advance(0.05)
    assert len(rig.published) == 1
    clock.advance(0.06)
    assert len(rig.published) == 2


def test_a_clock_that_was_set_back_does_not_stall_the_worker(steady_rig: Rig, clock: Clock) -> None:
    clock.advance(-90.0)
    assert len(steady_rig.published) == 2
    clock.advance(0.05)
    assert len(steady_rig.published) == 2
    clock.advance(0.06)
    assert len(steady_rig.published) == 3


def test_the_interval_holds_over_a_restart(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(interval_s=1000.0)
    rig.worker.start()
    rig.wait_for_answers(1)
    rig.worker.stop()
    rig.worker.start()
    rig.worker.reset().result(10.0)
    assert rig.policy.count("get_action") == 1


def test_without_an_interval_the_policy_is_asked_as_late_as_its_latency_allows(
    make_rig: Callable[..., Rig],
    clock: Clock,
) -> None:
    """A chunk lasts 1 s, slows down in its last 0.25 s, and an answer takes 0.3 s: at 0.45 s."""
    rig = make_rig(interval_s=None, now_s=clock)
    answer_first_after(0.3, rig, clock)
    for seconds, answers in ((0.1, 1), (0.04, 1), (0.02, 2)):
        clock.advance(seconds)
        assert len(rig.published) == answers


def test_in_turn_the_policy_is_asked_once_the_chunk_has_been_played(
    make_rig: Callable[..., Rig],
    clock: Clock,
) -> None:
    rig = make_rig(interval_s=0.1, now_s=clock, sync=True)
    answer_first_after(0.3, rig, clock)
    for seconds, answers in ((1.2, 1), (0.04, 1), (0.02, 2)):
        clock.advance(seconds)
        assert len(rig.published) == answers


def test_a_robot_that_nobody_observes_leaves_its_chunk_and_the_policy_is_asked_at_once_again(
    make_rig: Callable[..., Rig],
    clock: Clock,
) -> None:
    rig = make_rig(now_s=clock, sync=True)
    answer_first_after(0.3, rig, clock)
    clock.advance(0.1)
    assert rig.held == []
    rig.not_ready = NotReadyError("video.front: stale")
    rig.blind = "the newest observation would be 2.1 s old: video.front: stale"
    rig.wait_for_reason("video.front: stale")
    clock.advance(0.1)
    assert rig.held == [rig.blind]
    assert len(rig.published) == 1
    rig.not_ready, rig.blind = None, ""
    rig.wait_for_answers(1)
    assert len(rig.published) == 2
    assert len(rig.held) == 1


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("interval_s", [None, 0.001])
def test_no_two_requests_are_ever_under_way(
    make_rig: Callable[..., Rig], clock: Clock, sync: bool, interval_s: float | None
) -> None:
    rig = make_rig(interval_s=interval_s, now_s=clock, sync=sync)
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    for _ in range(5):
        clock.now_s += 10.0
        rig.worker.notice_message()
        rig.worker.start()
    rig.policy.go.set()
    rig.wait_for_answers(1)
    assert rig.policy.most_at_once == 1


@pytest.mark.parametrize("sync", [False, True])
def test_after_a_restart_or_a_reset_there_is_no_chunk_to_wait_for(
    make_rig: Callable[..., Rig], sync: bool
) -> None:
    rig = make_rig(interval_s=None, now_s=Clock(), sync=sync)
    rig.stamped = True
    rig.worker.start()
    rig.wait_for_answers(1)
    rig.worker.stop()
    rig.worker.start()
    rig.wait_for_answers(1)
    rig.worker.reset()
    rig.wait_for_answers(1)
    assert len(rig.published) == 3
