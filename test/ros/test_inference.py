# SPDX-License-Identifier: Apache-2.0
"""The inference worker: one request at a time, whatever the policy does, and no noise about it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import wait_until

from gr00t_policy_core.control.replan import ReplanTimer
from gr00t_policy_core.errors import PolicyError, PolicyTimeoutError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros import inference
from gr00t_ros.inference import Answer, InferenceWorker, Session, no_options
from gr00t_ros.observation import NotReadyError, TimedObservation


class Log:
    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)


class ScriptedPolicy(BasePolicy):
    """Does what the test puts into `troubles`, in order, and waits for `go` in every call."""

    def __init__(self) -> None:
        super().__init__(strict=False)
        self.go = threading.Event()
        self.go.set()
        self.troubles: list[Exception] = []
        self.calls: list[str] = []
        self.options: list[dict[str, Any] | None] = []
        self.at_once = 0
        self.most_at_once = 0
        self.threads: set[str] = set()

    def check_observation(self, observation: dict[str, Any]) -> None: ...

    def check_action(self, action: dict[str, Any]) -> None: ...

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        with self._counted("get_action"):
            self.options.append(options)
            if self.troubles:
                raise self.troubles.pop(0)
            return {"number": observation["number"]}, {"timing": {"total": 0.25}}

    def reset(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        with self._counted("reset"):
            return {"episode": 3}

    def _counted(self, name: str) -> Any:
        return _Counted(self, name)

    def count(self, name: str) -> int:
        return self.calls.count(name)


class _Counted:
    def __init__(self, policy: ScriptedPolicy, name: str) -> None:
        self._policy, self._name = policy, name

    def __enter__(self) -> None:
        policy = self._policy
        policy.calls.append(self._name)
        policy.threads.add(threading.current_thread().name)
        policy.at_once += 1
        policy.most_at_once = max(policy.most_at_once, policy.at_once)
        policy.go.wait(timeout=30.0)

    def __exit__(self, *_: object) -> None:
        self._policy.at_once -= 1


class Rig:
    """A worker with a policy, a source of observations and a list of what it published."""

    def __init__(
        self,
        interval_s: float | None = 0.01,
        now_s: Callable[[], float] = time.monotonic,
        *,
        sync: bool = False,
        options: Callable[[int], dict[str, Any] | None] = no_options,
    ) -> None:
        self.policy = ScriptedPolicy()
        self.log = Log()
        self.interval_s = interval_s
        self.sync = sync
        self.options = options
        self._now_s = now_s
        self.stamped = False  # with the present; else with the number of the observation
        self.not_ready: NotReadyError | None = None
        self.misfit: PolicyError | None = None
        self.prepared = 0
        self.published: list[Answer] = []
        self.publish_error: Exception | None = None
        self._numbers = itertools.count()
        self.worker = InferenceWorker(
            policy=self.policy,
            prepare=self._prepare,
            publish=self._publish,
            logger=self.log,
            now_s=now_s,
        )

    def _prepare(self, policy: BasePolicy) -> Session:
        self.prepared += 1
        if self.misfit is not None:
            raise self.misfit
        timer = ReplanTimer(chunk_s=1.0, interval_s=self.interval_s, margin_s=0.0, sync=self.sync)
        return Session(build=self._build, timer=timer, options=self.options)

    def _build(self) -> TimedObservation:
        if self.not_ready is not None:
            raise self.not_ready
        number = next(self._numbers)
        if self.stamped:
            return TimedObservation({"number": number}, t0_ns=round(self._now_s() * 1e9))
        return TimedObservation({"number": number}, t0_ns=number)

    def _publish(self, answer: Answer) -> None:
        if self.publish_error is not None:
            raise self.publish_error
        self.published.append(answer)

    def wait_for_answers(self, more: int = 3) -> None:
        wanted = len(self.published) + more
        wait_until(lambda: len(self.published) >= wanted, what="answers of the policy")

    def wait_for_reason(self, text: str) -> None:
        wait_until(lambda: text in self.worker.report.reason, what=f"the reason {text!r}")


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(inference, "RETRY_S", 0.01)
    monkeypatch.setattr(inference, "POLL_S", 0.01)
    rigs: list[Rig] = []

    def make(**options: Any) -> Rig:
        rigs.append(Rig(**options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.policy.go.set()
        assert rig.worker.close(10.0)


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


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
    assert report.policy_time_s == 0.25
    assert report.round_trip_s >= 0.0


def test_all_calls_come_from_one_thread_one_at_a_time(rig: Rig) -> None:
    rig.worker.start()
    for _ in range(20):
        rig.worker.reset()
        rig.worker.start()
        rig.worker.notice_message()
    rig.wait_for_answers(5)
    assert rig.policy.most_at_once == 1
    assert rig.policy.threads == {"inference"}


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


@pytest.mark.parametrize(
    "trouble",
    [
        PolicyTimeoutError("server gpu:5555 gave no answer"),
        SpecError("bad action", ["arm: nonsense"]),
        ValueError("shapes differ"),
        RuntimeError("CUDA out of memory"),
        KeyError("arm"),
    ],
)
def test_whatever_the_policy_raises_the_worker_goes_on(rig: Rig, trouble: Exception) -> None:
    rig.policy.troubles = [trouble] * 20
    rig.worker.start()
    rig.wait_for_answers(2)
    assert rig.worker.report.errors == 20
    assert len(rig.log.warnings) == 1
    assert str(trouble) in rig.log.warnings[0]
    wait_until(lambda: rig.log.infos)
    assert rig.log.infos == [f"inferring again; what kept it: {_reason(trouble)}"]


def _reason(trouble: Exception) -> str:
    is_ours = isinstance(trouble, PolicyError)
    return str(trouble) if is_ours else f"{type(trouble).__name__}: {trouble}"


def test_an_answer_that_cannot_be_published_is_an_error_not_the_end(rig: Rig) -> None:
    rig.publish_error = ValueError("the policy did not answer ['action.arm']")
    rig.worker.start()
    rig.wait_for_reason("the policy did not answer ['action.arm']")
    wait_until(lambda: rig.worker.report.errors >= 3)
    assert len(rig.log.warnings) == 1
    rig.publish_error = None
    rig.wait_for_answers(2)


def test_after_a_failure_the_policy_is_held_against_the_robot_again(rig: Rig) -> None:
    """Another policy may answer at that address then."""
    rig.worker.start()
    rig.wait_for_answers(2)
    assert rig.prepared == 1
    rig.misfit = SpecError("the parameters do not fit", ["state.gripper has 2 joints"])
    rig.policy.troubles = [PolicyTimeoutError("gone")]
    rig.wait_for_reason("state.gripper has 2 joints")
    rig.misfit = None
    rig.wait_for_answers(2)


def test_a_missing_stream_is_told_once_and_counted_and_its_return_too(rig: Rig) -> None:
    rig.not_ready = NotReadyError("video.front: stale", "0.61 s old")
    rig.worker.start()
    for age in range(30):
        rig.not_ready = NotReadyError("video.front: stale", f"{age} s old")
        rig.worker.notice_message()
        rig.wait_for_reason(f"video.front: stale: {age} s old")
    assert rig.worker.report.skipped >= 1
    assert rig.worker.report.errors == 0
    assert len(rig.log.warnings) == 1
    rig.not_ready = None
    rig.wait_for_answers(1)
    wait_until(lambda: rig.worker.report.reason == "")
    assert len(rig.log.infos) == 1


def test_troubles_that_alternate_are_each_told_once(rig: Rig) -> None:
    rig.worker.start()
    for i in range(10):
        name = ("video.front", "state.arm")[i % 2]
        rig.not_ready = NotReadyError(f"{name}: stale", f"{i}")
        rig.wait_for_reason(f"{name}: stale: {i}")
    assert len(rig.log.warnings) == 2


def test_a_stream_that_comes_and_goes_does_not_flood_the_log(rig: Rig) -> None:
    rig.worker.start()
    for i in range(10):
        rig.not_ready = NotReadyError("video.front: stale", f"{i}")
        rig.wait_for_reason(f"video.front: stale: {i}")
        rig.not_ready = None
        rig.wait_for_answers(1)
    assert len(rig.log.warnings) == 1
    assert len(rig.log.infos) == 1


def test_a_new_start_tells_its_trouble_again(rig: Rig) -> None:
    rig.not_ready = NotReadyError("video.front: stale")
    for number in (1, 2):
        rig.worker.start()
        wait_until(lambda n=number: len(rig.log.warnings) == n)
        rig.worker.stop()


def test_a_message_ends_the_wait_for_a_stream(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "POLL_S", 3600.0)
    rig = make_rig()
    rig.not_ready = NotReadyError("video.front: nothing received yet")
    rig.worker.start()
    rig.wait_for_reason("nothing received yet")
    rig.not_ready = None

    def one_more_message() -> bool:
        rig.worker.notice_message()
        return bool(rig.published)

    wait_until(one_more_message)


class Clock:
    """Stands still until the test lets it go on; `looks` counts who read it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Returns once the worker has seen the new time and done what it found due."""
        self.now_s += seconds
        seen = self.looks
        wait_until(lambda: self.looks >= seen + 3)


def test_observations_are_taken_at_the_replan_interval_of_the_clock(
    make_rig: Callable[..., Rig],
) -> None:
    clock = Clock()
    rig = make_rig(interval_s=0.1, now_s=clock)
    rig.worker.start()
    rig.wait_for_answers(1)
    times_s = []
    for _ in range(40):
        before = len(rig.published)
        clock.advance(0.0125)
        times_s += [clock.now_s - 100.0] * (len(rig.published) - before)
    assert times_s == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.013)


def test_after_a_stall_the_cadence_starts_anew_without_a_burst(
    make_rig: Callable[..., Rig],
) -> None:
    clock = Clock()
    rig = make_rig(interval_s=0.1, now_s=clock)
    rig.worker.start()
    rig.wait_for_answers(1)
    for seconds, answers in ((7.0, 2), (0.09, 2), (0.02, 3)):
        clock.advance(seconds)
        assert len(rig.published) == answers


def test_while_the_clock_stands_still_nothing_is_asked(make_rig: Callable[..., Rig]) -> None:
    clock = Clock()
    rig = make_rig(interval_s=0.1, now_s=clock)
    rig.worker.start()
    rig.wait_for_answers(1)
    clock.advance(0.0)
    clock.advance(0.0)
    assert len(rig.published) == 1


def test_a_clock_that_was_set_back_does_not_stall_the_worker(make_rig: Callable[..., Rig]) -> None:
    clock = Clock()
    rig = make_rig(interval_s=0.1, now_s=clock)
    rig.worker.start()
    rig.wait_for_answers(1)
    clock.advance(-90.0)
    assert len(rig.published) == 2
    clock.advance(0.05)
    assert len(rig.published) == 2
    clock.advance(0.06)
    assert len(rig.published) == 3


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


# When to ask, and what goes with it


def test_without_an_interval_the_policy_is_asked_as_late_as_its_latency_allows(
    make_rig: Callable[..., Rig],
) -> None:
    """A chunk lasts 1 s and an answer takes 0.3 s by the clock: asked after 0.7 s."""
    clock = Clock()
    rig = make_rig(interval_s=None, now_s=clock)
    rig.stamped = True
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    clock.now_s += 0.3
    rig.policy.go.set()
    rig.wait_for_answers(1)
    for seconds, answers in ((0.35, 1), (0.04, 1), (0.02, 2)):
        clock.advance(seconds)
        assert len(rig.published) == answers


def test_in_turn_the_policy_is_asked_once_the_chunk_has_been_played(
    make_rig: Callable[..., Rig],
) -> None:
    clock = Clock()
    rig = make_rig(interval_s=0.1, now_s=clock, sync=True)
    rig.stamped = True
    rig.policy.go.clear()
    rig.worker.start()
    wait_until(lambda: rig.policy.count("get_action") == 1)
    clock.now_s += 0.3
    rig.policy.go.set()
    rig.wait_for_answers(1)
    for seconds, answers in ((0.95, 1), (0.04, 1), (0.02, 2)):
        clock.advance(seconds)
        assert len(rig.published) == answers


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("interval_s", [None, 0.001])
def test_no_two_requests_are_ever_under_way(
    make_rig: Callable[..., Rig], sync: bool, interval_s: float | None
) -> None:
    clock = Clock()
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


def test_options_are_made_for_the_time_of_each_observation(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(options=lambda t0_ns: {"rtc": {"prefix": t0_ns}})
    rig.worker.start()
    rig.wait_for_answers(3)
    assert rig.policy.options[:3] == [{"rtc": {"prefix": number}} for number in range(3)]


def test_a_policy_that_is_told_nothing_gets_no_options(rig: Rig) -> None:
    rig.worker.start()
    rig.wait_for_answers(1)
    assert rig.policy.options[0] is None
