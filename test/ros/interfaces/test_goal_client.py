# SPDX-License-Identifier: Apache-2.0
"""Goals that fail, are replaced or canceled, in every order in which a client may hear of it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from action_msgs.msg import GoalStatus

from gr00t_ros.interfaces import goal_client
from gr00t_ros.interfaces.goal_chain import GoalChain
from gr00t_ros.interfaces.goal_client import GoalClient
from gr00t_ros.interfaces.message_types.follow_joint_trajectory import FollowJointTrajectoryCommand

actions = pytest.importorskip("control_msgs.action")
Result = actions.FollowJointTrajectory.Result
ABORTED, CANCELED = GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_CANCELED
OFF = Result(error_code=Result.PATH_TOLERANCE_VIOLATED, error_string="path tolerance")
REPLACED = Result(error_code=Result.INVALID_GOAL, error_string="replaced by a new goal")


class Answer:
    """A future that the test completes."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], None]] = []
        self._result: Any = None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def result(self) -> Any:
        return self._result

    def set(self, result: Any) -> None:
        self._result = result
        for callback in self._callbacks:
            callback(self)


class Handle:
    """A goal on the server."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self._ending = answer, Answer()
        self.accepted = True
        self.cancellations = 0

    def get_result_async(self) -> Answer:
        return self._ending

    def cancel_goal_async(self) -> None:
        self.cancellations += 1

    def accept(self) -> None:
        self._answer.set(self)

    def reject(self) -> None:
        self.accepted = False
        self._answer.set(self)

    def end(self, status: int, result: Any = None) -> None:
        self._ending.set(SimpleNamespace(status=status, result=result or Result()))


class Server:
    """Takes the goals of a client, and answers when the test says so."""

    def __init__(self) -> None:
        self.goals: list[Handle] = []

    def server_is_ready(self) -> bool:
        return True

    def send_goal_async(self, _: Any) -> Answer:
        answer = Answer()
        self.goals.append(Handle(answer))
        return answer


def client_of(kind: type[Any], server: Server) -> Any:
    settings = {one.name: one.default for one in FollowJointTrajectoryCommand.parameters}
    interface = FollowJointTrajectoryCommand({**settings, "joints": ["shoulder"]})
    return kind(server, "/arm", interface)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def chain(server: Server) -> GoalChain:
    """A client whose first goal is in progress, and whose second is on its way."""
    chain = client_of(GoalChain, server)
    chain.send(1)
    server.goals[0].accept()
    chain.send(2)
    return chain


def test_a_goal_that_fails_while_the_next_is_on_its_way_takes_that_with_it(
    server: Server, chain: GoalChain
) -> None:
    one, two = server.goals
    one.end(ABORTED, OFF)
    assert chain.take_failure() == "aborted: error -4 path tolerance"
    assert chain.take_failure() == ""  # it is reported once
    two.accept()
    assert two.cancellations == 1
    two.end(CANCELED)
    assert chain.take_failure() == ""
    assert chain.is_idle


def test_a_failure_that_is_heard_of_after_the_next_goal_has_begun_ends_that(
    server: Server, chain: GoalChain
) -> None:
    one, two = server.goals
    two.accept()
    one.end(ABORTED, OFF)
    assert chain.take_failure() == "aborted: error -4 path tolerance"
    assert two.cancellations == 1


@pytest.mark.parametrize("result", [REPLACED, Result()])
@pytest.mark.parametrize("status", [ABORTED, CANCELED])
@pytest.mark.parametrize("is_answered_first", [True, False])
def test_a_goal_that_is_replaced_is_no_failure(
    server: Server, chain: GoalChain, is_answered_first: bool, status: int, result: Any
) -> None:
    one, two = server.goals
    if is_answered_first:
        two.accept()
    one.end(status, result)
    if not is_answered_first:
        two.accept()
    assert chain.take_failure() == ""
    assert two.cancellations == 0
    chain.send(3)
    assert len(server.goals) == 3


@pytest.mark.parametrize("status", [ABORTED, CANCELED])
def test_a_controller_that_is_deactivated_ends_its_goal_and_rejects_the_next(
    server: Server, chain: GoalChain, status: int
) -> None:
    one, two = server.goals
    one.end(status, REPLACED)
    two.reject()
    assert chain.take_failure().endswith("error -1 replaced by a new goal")


def test_nothing_is_sent_after_a_failure_until_it_was_reported_and_resumed(
    server: Server, chain: GoalChain
) -> None:
    _, two = server.goals
    two.accept()
    two.end(ABORTED, OFF)
    chain.send(3)
    chain.resume()  # of a stop before: nobody knows of this failure yet
    chain.send(3)
    assert len(server.goals) == 2
    assert chain.take_failure() == "aborted: error -4 path tolerance"
    chain.send(3)
    assert len(server.goals) == 2
    chain.resume()
    chain.send(3)
    assert len(server.goals) == 3


def test_a_rejected_goal_takes_the_next_one_with_it(server: Server, chain: GoalChain) -> None:
    _, two = server.goals
    chain.send(3)
    two.reject()
    assert chain.take_failure() == "rejected by /arm"
    server.goals[2].accept()
    assert server.goals[2].cancellations == 1


@pytest.mark.parametrize("kind", [GoalClient, GoalChain])
def test_all_goals_are_canceled_that_may_be_carried_out_still(
    server: Server, kind: type[Any]
) -> None:
    client = client_of(kind, server)
    client.send(1)
    client.send(2)
    client.cancel()
    one, two = server.goals
    one.accept()
    two.reject()
    assert one.cancellations == 1
    assert not client.is_idle
    one.end(CANCELED)
    assert client.is_idle


def test_goals_that_nobody_answers_are_given_up_however_many_follow(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(goal_client.time, "monotonic", lambda: now_s)
    chain = client_of(GoalChain, server)
    for number in range(5):
        chain.send(number)
        now_s += 0.5
    assert chain.problem == "the action server at /arm does not answer"
    assert chain.take_failure() == "not answered by /arm"
    assert chain.problem == ""
    assert chain.is_idle
    chain.resume()
    server.goals[4].accept()
    assert server.goals[4].cancellations == 1


def test_a_gripper_goes_on_with_its_newest_goal_after_one_that_it_gave_up(server: Server) -> None:
    gripper = client_of(GoalClient, server)
    gripper.send(1)
    gripper.send(2)
    one, two = server.goals
    one.accept()
    one.end(ABORTED)
    two.accept()
    assert two.cancellations == 0
    assert not gripper.is_refused
