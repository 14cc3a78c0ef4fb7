# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of each process in each phase of a task, and what the result says of it.

One robot for all tests of this file: each starts again what it has killed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from fleet_rig import GOAL, Feedback, Fleet, running_fleet
from helpers import wait_until
from task_rig import SLOW_S, fields

from gr00t_policy_core import PolicyClient
from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import Ender, PolicyStatus, TaskResult, TaskStatus

pytestmark = pytest.mark.xdist_group("task faults")

FAULT = (TaskResult.TERMINATION_FAULT, TaskResult.OUTCOME_UNKNOWN)
CANCELLED = (TaskResult.TERMINATION_CANCELLED, TaskResult.OUTCOME_UNKNOWN)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.mark.parametrize("name", ["policy_node", "control_node"])
def test_a_node_that_is_killed_while_the_robot_moves_is_a_fault(fleet: Fleet, name: str) -> None:
    handle = fleet.begin()
    fleet.processes.kill(name)
    status, result = fleet.peer.result_of(handle)
    fleet.start_again(name)
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == FAULT
    assert f"{name} has sent no status" in result.task.reason
    assert "it has ended, or hangs" in result.task.reason
    assert [fields(subtask) for subtask in result.subtasks] == [FAULT]


@pytest.mark.parametrize("name", ["policy_node", "control_node"])
def test_a_node_that_is_killed_before_the_first_chunk_is_a_fault(fleet: Fleet, name: str) -> None:
    handle = fleet.begin_without_server()
    fleet.processes.kill(name)
    status, result = fleet.peer.result_of(handle)
    fleet.processes.signal("server", signal.SIGCONT)
    fleet.start_again(name)
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == FAULT
    assert name in result.task.reason
    assert result.task.chunks == 0


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("policy_node", "so control_node was stopped: its ~/start allows motion again"),
        ("control_node", "whether the robot is at rest is not known"),
    ],
)
def test_a_node_that_is_killed_while_the_robot_brakes_is_told_beside_the_end(
    fleet: Fleet, name: str, problem: str
) -> None:
    handle = fleet.begin_and_brake(hung=name)
    fleet.processes.kill(name)
    status, result = fleet.peer.result_of(handle)
    fleet.start_again(name)
    assert status == GoalStatus.STATUS_CANCELED
    assert fields(result.task) == CANCELLED
    assert result.task.reason.startswith("cancelled by the client; ")
    assert problem in result.task.reason


def test_nodes_that_hang_for_a_while_stop_the_robot_when_they_go_on(fleet: Fleet) -> None:
    handle = fleet.begin()
    for name in ("policy_node", "control_node"):
        fleet.processes.signal(name, signal.SIGSTOP)
    handle.cancel_goal_async()
    fleet.peer.wait_for_feedback(Feedback.STATE_STOPPING)
    begun_s = fleet.peer.feedbacks[-1].elapsed_s
    wait_until(
        lambda: fleet.peer.feedbacks[-1].elapsed_s > begun_s + 2.5,
        SLOW_S,
        "neither node has answered within two seconds",
    )
    for name in ("policy_node", "control_node"):
        fleet.processes.signal(name, signal.SIGCONT)
    status, result = fleet.peer.result_of(handle)
    fleet.peer.allow_motion()
    assert status == GoalStatus.STATUS_CANCELED
    assert re.fullmatch(
        "cancelled by the client; policy_node/stop did not answer within 1 s, "
        "so control_node was (stopped|asked to stop): its ~/start allows motion again",
        result.task.reason,
    )
    assert fleet.peer.control_statuses[-1].at_rest


def test_a_node_that_is_killed_and_comes_back_at_once_is_a_fault_too(fleet: Fleet) -> None:
    handle = fleet.begin()
    wait_until(lambda: fleet.peer.policy_statuses[-1].inferences > 2, SLOW_S, "some inferences")
    fleet.processes.kill("policy_node")
    fleet.processes.start("policy_node")
    _, result = fleet.peer.result_of(handle)
    fleet.peer.wait_for_nodes(fleet.processes)
    fleet.peer.allow_motion()
    assert fields(result.task) == FAULT
    assert "policy_node" in result.task.reason


def test_a_server_that_is_killed_ends_the_task_once_the_robot_stands_still(fleet: Fleet) -> None:
    handle = fleet.begin()
    fleet.processes.kill("server")
    status, result = fleet.peer.result_of(handle)
    assert any(f.state == Feedback.STATE_WAITING for f in fleet.peer.feedbacks)
    fleet.start_again("server")
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == FAULT
    assert "the robot has played no chunk for 4" in result.task.reason
    assert "policy_node: " in result.task.reason
    assert result.task.inference_errors > 0


def test_a_server_that_is_killed_before_the_first_chunk_is_a_fault(fleet: Fleet) -> None:
    handle = fleet.begin_without_server()
    fleet.processes.kill("server")
    status, result = fleet.peer.result_of(handle)
    fleet.start_again("server")
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == FAULT
    assert f"localhost:{fleet.port}" in result.task.reason
    assert result.task.chunks == 0


def test_a_server_that_is_killed_while_the_robot_brakes_is_not_needed_for_it(fleet: Fleet) -> None:
    handle = fleet.begin_and_brake(hung="control_node")
    fleet.processes.kill("server")
    fleet.processes.signal("control_node", signal.SIGCONT)
    status, result = fleet.peer.result_of(handle)
    fleet.start_again("server")
    assert status == GoalStatus.STATUS_CANCELED
    assert fields(result.task) == CANCELLED
    assert result.task.reason == "cancelled by the client"


def test_a_task_node_that_is_killed_while_the_robot_moves_ends_the_motion(fleet: Fleet) -> None:
    fleet.begin()
    fleet.processes.kill("task_node")
    asked = len(fleet.peer.chunks)
    fleet.peer.wait_for_policy("stopped: task_node has sent no status for 3.")
    assert any(
        chunk.stop and "its task ran: it has ended, or hangs" in chunk.stop_reason
        for chunk in fleet.peer.chunks[asked:]
    )
    wait_until(lambda: fleet.peer.control_statuses[-1].at_rest, SLOW_S, "the robot is at rest")
    fleet.start_again("task_node")
    assert fleet.peer.policy_statuses[-1].state == PolicyStatus.STATE_STOPPED


def test_a_task_node_that_is_killed_and_comes_back_does_not_vouch_for_the_task(
    fleet: Fleet,
) -> None:
    fleet.begin()
    fleet.processes.kill("task_node")
    with fleet.peer.found_again("task_node"):
        fleet.processes.start("task_node")
    fleet.peer.wait_for_policy("stopped: task_node has sent no status for 3.")
    fleet.peer.wait_for_nodes(fleet.processes)


def test_a_task_node_that_is_killed_before_the_first_chunk_moves_no_robot(fleet: Fleet) -> None:
    fleet.begin_without_server()
    fleet.processes.kill("task_node")
    seen = len(fleet.peer.chunks)
    fleet.processes.signal("server", signal.SIGCONT)
    fleet.start_again("task_node")
    fleet.peer.wait_for_policy("stopped")
    assert [chunk for chunk in fleet.peer.chunks[seen:] if not chunk.stop] == []


def test_a_task_node_that_is_killed_while_the_robot_brakes_has_stopped_it(fleet: Fleet) -> None:
    fleet.begin_and_brake(hung="policy_node")
    fleet.processes.kill("task_node")
    fleet.processes.signal("policy_node", signal.SIGCONT)
    fleet.peer.wait_for_policy("stopped")
    fleet.start_again("task_node")
    wait_until(lambda: fleet.peer.control_statuses[-1].at_rest, SLOW_S, "the robot is at rest")


def test_an_ender_that_hangs_keeps_no_robot_moving(fleet: Fleet) -> None:
    goal = RunPolicy.Goal(instruction="pick up the pear")
    goal.enders = [Ender(type="enders_for_tests:HangingEnder")]
    fleet.peer.send(goal)
    fleet.peer.wait_for_policy("stopped: task_node has sent no status for 3.")
    fleet.processes.kill("task_node")
    fleet.start_again("task_node")


def test_the_server_hears_how_a_task_has_ended_though_nothing_is_asked_any_more(
    fleet: Fleet,
) -> None:
    goal = RunPolicy.Goal(instruction="pick up the kiwi")
    goal.enders = [Ender(type="time", settings="{after_s: 0.5}")]
    _, result = fleet.peer.run(goal)
    wait_until(
        lambda: fleet.peer.task_statuses[-1].state == TaskStatus.STATE_READY, SLOW_S, "no task"
    )
    status = fleet.peer.task_statuses[-1]
    assert status.last_task.instruction == "pick up the kiwi"
    assert status.last_task.reason == result.task.reason
    ended = {(c.termination, c.outcome): c.count for c in status.counts}
    count = ended[TaskResult.TERMINATION_ENDER, TaskResult.OUTCOME_UNKNOWN]

    with PolicyClient(port=fleet.port) as client:

        def infos() -> list[dict[str, Any]]:
            listed = client.call_endpoint("metrics")["clients"]
            return [info for listed_client in listed if (info := listed_client["info"])]

        wait_until(
            lambda: any(i["outcomes"].get("unknown: ender", 0) >= count for i in infos()),
            SLOW_S,
            "the outcome",
        )
        (info,) = infos()
    assert info["task"] == "pick up the kiwi"
    assert info["state"] == "holding"


def client_command() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gr00t_policy_core", "run", "pick up the pear"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ),
    )


def wait_for_line(command: subprocess.Popen[str], text: str) -> None:
    assert command.stdout is not None
    assert any(text in line for line in iter(command.stdout.readline, ""))


def test_a_task_node_that_is_killed_leaves_a_robot_that_its_client_stops(fleet: Fleet) -> None:
    command = client_command()
    wait_for_line(command, "| running")
    fleet.processes.kill("task_node")
    output, _ = command.communicate(timeout=SLOW_S)
    fleet.start_again("task_node")
    assert command.returncode == 1, output
    assert "task_node has ended, or hangs; control_node was stopped" in output
    assert "policy_node was stopped; ~/start of control_node allows motion again" in output
    assert fleet.peer.policy_statuses[-1].state == PolicyStatus.STATE_STOPPED


def test_a_task_node_that_goes_on_after_its_client_gave_up_moves_no_robot(fleet: Fleet) -> None:
    fleet.processes.signal("server", signal.SIGSTOP)
    command = client_command()
    wait_for_line(command, "| starting")
    fleet.processes.signal("task_node", signal.SIGSTOP)
    output, _ = command.communicate(timeout=SLOW_S)
    for name in ("server", "task_node"):
        fleet.processes.signal(name, signal.SIGCONT)
    assert "task_node has ended, or hangs; control_node was stopped" in output
    wait_until(
        lambda: fleet.peer.task_statuses[-1].state == TaskStatus.STATE_READY, SLOW_S, "the end"
    )
    status = fleet.peer.control_statuses[-1]
    fleet.peer.allow_motion()
    assert fleet.peer.task_statuses[-1].last_task.chunks == 0
    assert status.at_rest
    assert "stopped by ~/stop" in status.reason


def test_a_second_goal_is_rejected_and_the_first_one_goes_on(fleet: Fleet) -> None:
    first = fleet.begin()
    status, result = fleet.peer.run(GOAL)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.task.termination == TaskResult.TERMINATION_REJECTED
    assert result.task.reason.startswith("another goal runs: cancel it first")
    first.cancel_goal_async()
    assert fields(fleet.peer.result_of(first)[1].task) == CANCELLED


def test_a_goal_that_is_wrong_is_rejected_with_every_reason(fleet: Fleet) -> None:
    _, result = fleet.peer.run(RunPolicy.Goal(enders=[Ender(type="tiem")]))
    assert result.task.termination == TaskResult.TERMINATION_REJECTED
    assert "instruction: is empty" in result.task.reason
    assert "did you mean time?" in result.task.reason


def test_a_goal_may_have_another_policy_and_leaves_the_node_as_it_was(fleet: Fleet) -> None:
    goal = RunPolicy.Goal(instruction="pick up the fig", time_limit_s=20.0)
    goal.policy = "{port: 1, timeout_s: 0.3}"  # nobody listens there
    _, result = fleet.peer.run(goal)
    assert fields(result.task) == FAULT
    assert "localhost:1" in result.task.reason
    goal.policy = "{timeout_s: 2.5}"
    goal.enders = [Ender(type="time", settings="{after_s: 0.5}")]
    status, result = fleet.peer.run(goal)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.task.reason
    goal.policy = ""
    assert fleet.peer.run(goal)[0] == GoalStatus.STATUS_SUCCEEDED  # at its own server again
    goal.policy = "{port: 70000}"
    _, result = fleet.peer.run(goal)
    assert fields(result.task) == FAULT
    assert "policy_node" in result.task.reason
    goal.policy = ""
    assert fleet.peer.run(goal)[0] == GoalStatus.STATUS_SUCCEEDED


def test_an_ender_that_raises_ends_the_task_and_stops_the_robot(fleet: Fleet) -> None:
    goal = RunPolicy.Goal(instruction="pick up the pear")
    goal.enders = [Ender(type="enders_for_tests:BrokenEnder")]
    status, result = fleet.peer.run(goal)
    assert status == GoalStatus.STATUS_ABORTED
    assert fields(result.task) == FAULT
    assert result.task.reason == "ZeroDivisionError: no scale"
    assert fleet.peer.control_statuses[-1].at_rest


def test_after_all_that_a_task_runs_as_ever(fleet: Fleet) -> None:
    status, result = fleet.peer.run(
        RunPolicy.Goal(instruction="pick up the pear", time_limit_s=1.0)
    )
    assert status == GoalStatus.STATUS_ABORTED
    assert result.task.termination == TaskResult.TERMINATION_TIME_LIMIT
    assert result.task.outcome == TaskResult.OUTCOME_UNKNOWN  # nothing could have seen success
