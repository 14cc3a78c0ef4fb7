# SPDX-License-Identifier: Apache-2.0
"""One goal of RecordEpisode is one episode."""

from __future__ import annotations

from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from helpers import call_in_its_thread, wait_until
from recorder_rig import RecorderRig, StartRecorder, info_of

from gr00t_ros.action import RecordEpisode
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.node.shared_action_client import SharedActionClient


class Goal:
    """A goal that was sent, and what comes of it."""

    def __init__(self, rig: RecorderRig, **request: Any) -> None:
        self.feedback: list[Any] = []
        self._client = call_in_its_thread(
            rig.peer,
            lambda: SharedActionClient(rig.peer, RecordEpisode, "recorder_node/record_episode"),
        )
        wait_until(self._client.server_is_ready, what="the action server")
        sent = self._client.send_goal_async(
            RecordEpisode.Goal(**request), lambda message: self.feedback.append(message.feedback)
        )
        wait_until(sent.done, what="the goal is accepted")
        self.handle = sent.result()
        self._result = self.handle.get_result_async()

    def result(self) -> tuple[int, RecordEpisode.Result]:
        wait_until(self._result.done, what="the result")
        return self._result.result().status, self._result.result().result


def test_a_goal_with_a_duration_records_that_long(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.wait_until(RecorderStatus.STATE_READY)

    goal = Goal(rig, task="wave", duration_s=1.2, outcome="success", notes="by goal")
    status, result = goal.result()

    assert (status, result.success) == (GoalStatus.STATUS_SUCCEEDED, True), result.message
    assert 1.2 <= result.duration_s < 10.0
    assert result.messages > 20
    assert goal.feedback[0].episode == "episode_000000"
    info = info_of(result.path)
    assert (info.task, info.outcome, info.notes) == ("wave", "success", "by goal")


def test_a_goal_ends_when_somebody_else_stops_it(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.wait_until(RecorderStatus.STATE_READY)
    goal = Goal(rig)
    rig.wait_for_messages(10)

    assert rig.stop("failure").success

    status, result = goal.result()
    assert (status, result.outcome) == (GoalStatus.STATUS_SUCCEEDED, "failure")


def test_a_goal_that_is_cancelled_leaves_no_episode(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.wait_until(RecorderStatus.STATE_READY)
    goal = Goal(rig)
    rig.wait_for_messages(10)

    goal.handle.cancel_goal_async()

    status, result = goal.result()
    assert (status, result.success) == (GoalStatus.STATUS_CANCELED, False)
    assert result.message == "episode_000000 was discarded"
    assert rig.episodes() == []


def test_a_goal_whose_episode_is_discarded_is_aborted(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.wait_until(RecorderStatus.STATE_READY)
    goal = Goal(rig)
    rig.wait_for_messages(10)

    assert rig.discard().success

    assert goal.result()[0] == GoalStatus.STATUS_ABORTED


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({"outcome": "great"}, "outcome must be one of"),
        ({"duration_s": -1.0}, "duration_s must be 0 or more, got -1.0"),
        ({"duration_s": float("nan")}, "duration_s must be 0 or more, got nan"),
        ({}, "no episode can begin: video.front"),
    ],
)
def test_a_goal_that_cannot_be_followed_says_why(
    start_recorder: StartRecorder, request_: dict[str, Any], problem: str
) -> None:
    rig = start_recorder(robot=False)
    status, result = Goal(rig, **request_).result()
    assert status == GoalStatus.STATUS_ABORTED
    assert problem in result.message
