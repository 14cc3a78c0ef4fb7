# SPDX-License-Identifier: Apache-2.0
"""The inference worker goes on whatever policy and streams do, and makes no noise about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import wait_until
from worker_rig import Rig

from gr00t_policy_core.errors import PolicyError, PolicyTimeoutError, SpecError
from gr00t_ros.policy import inference_worker as inference
from gr00t_ros.policy.observation_builder import NotReadyError


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
    assert rig.log.infos == [f"inferring again, after waiting: {_reason(trouble)}"]


def _reason(trouble: Exception) -> str:
    is_ours = isinstance(trouble, PolicyError)
    return str(trouble) if is_ours else f"{type(trouble).__name__}: {trouble}"


def test_an_answer_that_cannot_be_published_is_an_error_not_the_end(rig: Rig) -> None:
    rig.publish_error = ValueError("the policy's answer lacks ['action.arm']")
    rig.worker.start()
    rig.wait_for_reason("the policy's answer lacks ['action.arm']")
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
