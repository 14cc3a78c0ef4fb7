# SPDX-License-Identifier: Apache-2.0
"""Calls whose answers DDS may lose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.task import Future
from std_srvs.srv import Trigger

from gr00t_ros.sim import service_calls
from gr00t_ros.sim.service_calls import call, call_trigger


class LosesAnswers:
    """A node whose calls are answered, but for the first ones."""

    def __init__(self, lost: int) -> None:
        self.asked = 0
        self._lost = lost

    def create_client(self, *_: Any) -> Any:
        return SimpleNamespace(wait_for_service=lambda _: True, call_async=self._call)

    def destroy_client(self, _: Any) -> None:
        """There is none."""

    def _call(self, _: Any) -> Future:
        self.asked += 1
        future: Future = Future()
        if self.asked > self._lost:
            future.set_result(Trigger.Response(success=True))
        return future


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_calls, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(service_calls, "AGAIN_S", 0.05)


def test_a_request_whose_answer_is_lost_is_sent_again() -> None:
    node = LosesAnswers(2)
    call_trigger(node, "reset")
    assert node.asked == 3


def test_a_service_that_never_answers_is_named() -> None:
    with pytest.raises(TimeoutError, match="reset did not answer"):
        call_trigger(LosesAnswers(100), "reset")


def test_a_request_that_may_not_be_carried_out_twice_is_sent_once() -> None:
    node = LosesAnswers(1)
    with pytest.raises(TimeoutError, match="start did not answer"):
        call(node, Trigger, "start", Trigger.Request())
    assert node.asked == 1
