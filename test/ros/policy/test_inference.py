# SPDX-License-Identifier: Apache-2.0
"""The inference worker: one request at a time, whatever is asked of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from helpers import wait_until
from worker_rig import Clock, Rig

from gr00t_policy_core.errors import PolicyError, PolicyTimeoutError


def test_nothing_is_asked_before_the_start(rig: Rig) -> None:
    rig.worker.reset().result(10.0)  # the worker has gone round once
    assert rig.policy.count("get_action") == 0
    assert rig.worker.report.reason == "stopped"


def test_each_answer_is_published_with_the_time_of_its_observation(rig: Rig) -> None:
    rig.worker.start()
    rig.wait_for_answers(3)
    assert [a.t0_ns for a in rig.published[:3]] == [0, 1, 2]
    assert [a.action["number"] for a in rig.published[:3]] == [0, 1, 2]
    report = rig.worker.report
    assert report.reason == ""
    assert report.inferences >= 2
    assert {result.policy_time_s for result in rig.published} == {0.25}
    assert all(result.round_trip_s >= 0.0 for result in rig.published)


def test_all_calls_come_from_one_thread_one_at_a_time(rig: Rig) -> None:
    rig.worker.start()
    for _ in range(20):
        rig.worker.reset()
        rig.worker.start()
        rig.worker.notice_message()
    rig.wait_for_answers(5)
    assert rig.policy.most_at_once == 1
    assert rig.policy.threads == {"inference"}


def test_a_session_that_is_outdated_when_it_is_made_is_made_again(rig: Rig) -> None:
    rig.meanwhile = rig.worker.renew_session  # another robot description has come
    rig.worker.start()
    rig.wait_for_answers(3)
    assert rig.prepared == 2


def test_while_the_policy_thinks_no_second_request_is_made(rig: Rig) -> None:
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    for _ in range(10):
        rig.worker.notice_message()
    assert not rig.published
    assert rig.policy.count("get_action") == 1
    rig.policy.go.set()
    rig.wait_for_answers(1)


def test_an_answer_that_comes_after_stop_is_dropped(rig: Rig) -> None:
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    rig.worker.stop()
    rig.policy.go.set()
    rig.worker.reset().result(10.0)  # served after the late answer
    assert rig.published == []
    assert rig.worker.report.reason == "stopped"


def test_a_late_answer_of_the_run_before_is_not_published_in_the_next_one(rig: Rig) -> None:
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    rig.worker.stop()
    rig.worker.start()
    rig.policy.go.set()
    rig.wait_for_answers(1)
    assert rig.published[0].t0_ns == 1  # observation 0 belonged to the first run


def test_a_reset_waits_for_the_inference_and_drops_its_answer(rig: Rig) -> None:
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    outcome = rig.worker.reset()
    assert not outcome.done()
    rig.policy.go.set()
    assert outcome.result(10.0) == {"episode": 3}
    rig.wait_for_answers(1)
    assert rig.policy.calls[:3] == ["get_action", "reset", "get_action"]
    assert rig.published[0].t0_ns == 1


def test_the_error_of_a_reset_reaches_who_asked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(options: Any = None) -> dict[str, Any]:
        raise PolicyTimeoutError("no answer within 2 s")

    monkeypatch.setattr(rig.policy, "reset", refuse)
    with pytest.raises(PolicyTimeoutError, match="no answer within 2 s"):
        rig.worker.reset().result(10.0)


def test_close_ends_the_thread(rig: Rig) -> None:
    rig.worker.start()
    rig.wait_for_answers(1)
    assert rig.worker.close(10.0)
    count = len(rig.published)
    rig.worker.notice_message()
    assert len(rig.published) == count


def test_close_with_a_policy_that_hangs_returns_and_says_so(rig: Rig) -> None:
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    outcome = rig.worker.reset()
    assert not rig.worker.close(0.05)
    with pytest.raises(PolicyError, match="closed before it could be reset"):
        outcome.result(0.0)
    rig.policy.go.set()
    assert rig.worker.close(10.0)
    assert rig.published == []


def test_an_idle_worker_closes_at_once_however_often_it_is_tried(
    make_rig: Callable[..., Rig],
) -> None:
    """Closing must not slip between the worker's looking and its sleeping."""
    for _ in range(200):
        assert make_rig().worker.close(10.0)


def test_options_are_made_for_the_time_of_each_observation(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(options=lambda t0_ns: {"rtc": {"prefix": t0_ns}})
    rig.worker.start()
    rig.wait_for_answers(3)
    assert rig.policy.options[:3] == [{"rtc": {"prefix": number}} for number in range(3)]


def test_a_policy_that_is_told_nothing_gets_no_options(rig: Rig) -> None:
    rig.worker.start()
    rig.wait_for_answers(1)
    assert rig.policy.options[0] is None


def test_it_asks_anew_at_once_with_an_observation_since_then(
    make_rig: Callable[..., Rig],
) -> None:
    clock = Clock()
    clock.now_s = 0.0
    rig = make_rig(interval_s=1000.0, now_s=clock)  # observations are stamped 0, 1, 2 … ns
    rig.worker.start()
    rig.wait_for_answers(1)
    clock.advance(1.0)
    assert len(rig.published) == 1
    rig.worker.ask_anew(since_ns=5)
    while len(rig.published) == 1:
        rig.worker.notice_message()
    assert [answer.t0_ns for answer in rig.published] == [0, 5]
    clock.advance(1.0)
    assert len(rig.published) == 2, "then it goes on at its own rate"


def test_an_answer_on_its_way_is_dropped_where_it_asks_anew(rig: Rig) -> None:
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    rig.worker.ask_anew(since_ns=0)
    rig.policy.go.set()
    rig.wait_for_answers(1)
    assert rig.published[0].t0_ns == 1
