# SPDX-License-Identifier: Apache-2.0
"""Goals: what is wrong with them, files of them, and which of two may run."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path

import pytest
import yaml
from helpers import wait_until

from gr00t_policy_core import SpecError
from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import Ender, Subtask
from gr00t_ros.task.goal_slot import BUSY, REPLACED, GoalSlot, Interrupt
from gr00t_ros.task.outcome import Outcome
from gr00t_ros.task.task_file import goal_from, goal_from_file, goal_from_text
from gr00t_ros.task.task_goal import TaskGoal, read_goal

EXAMPLES = Path(__file__).parents[3] / "examples"
TIME = Ender(type="time", settings="{after_s: 1.0}")


def read(message: RunPolicy.Goal, *default_enders: Ender, limit_s: float = 0.0) -> TaskGoal:
    return read_goal(message, default_enders=default_enders, default_limit_s=limit_s)


def test_a_goal_without_enders_and_limit_gets_those_of_the_node() -> None:
    goal = read(RunPolicy.Goal(instruction="wave"), TIME, limit_s=20.0)
    assert [ender.text for ender in goal.subtasks[0].enders] == ["time {after_s: 1.0}"]
    assert goal.time_limit_s == 20.0
    own = RunPolicy.Goal(instruction="wave", enders=[Ender(type="convergence")], time_limit_s=5.0)
    goal = read(own, TIME, limit_s=20.0)
    assert [ender.text for ender in goal.subtasks[0].enders] == ["convergence"]
    assert goal.time_limit_s == 5.0
    assert math.isinf(read(RunPolicy.Goal(instruction="wave")).time_limit_s)


def test_everything_that_is_wrong_with_a_goal_is_told_at_once() -> None:
    subtasks = [
        Subtask(instruction=" ", combine="both", time_limit_s=math.nan),
        Subtask(instruction="wave", enders=[Ender(type="tiem")]),
    ]
    goal = RunPolicy.Goal(instruction="x", subtasks=subtasks, policy="{hots: a}", time_limit_s=-1.0)
    with pytest.raises(SpecError) as caught:
        read(goal)
    told = "\n".join(caught.value.problems)
    for problem in (
        "subtasks[0].instruction: is empty",
        "subtasks[0].combine: must be any or all, got 'both'",
        "subtasks[0].time_limit_s: must be a number of seconds >= 0, got nan",
        "subtasks[1].enders[0] (tiem): 'tiem' is not an ender",
        "instruction, enders and combine belong into each subtask",
        "policy: hots: no such parameter (did you mean host",
        "time_limit_s: must be a number of seconds >= 0, got -1.0",
    ):
        assert problem in told


def test_another_host_takes_the_place_of_several() -> None:
    goal = read(RunPolicy.Goal(instruction="x", policy="{host: gpu, port: 7}"))
    assert goal.policy == {"policy.host": "gpu", "policy.port": 7, "policy.hosts": []}


def test_deep_yaml_is_an_error_and_no_crash() -> None:
    with pytest.raises(SpecError, match="settings are not YAML"):
        read(RunPolicy.Goal(instruction="x", policy="[" * 9000))
    with pytest.raises(SpecError, match="longer than 10000"):
        read(RunPolicy.Goal(instruction="x", policy="a" * 20_000))


def test_the_example_is_a_goal() -> None:
    goal = read(goal_from_file(EXAMPLES / "run_task.yaml"))
    assert len(goal.subtasks) == 3
    assert goal.subtasks[1].needs_all
    assert [len(subtask.enders) for subtask in goal.subtasks] == [1, 2, 1]
    assert goal.time_limit_s == 120.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "the goal must be a map"),
        ("{instrction: x}", r"instrction: no such field \(did you mean instruction\?\)"),
        ("{instruction: 3}", "instruction: must be text, got 3"),
        ("{subtasks: [{time_limit_s: true}]}", r"subtasks\[0\].time_limit_s: must be a number"),
        ("{enders: [time]}", r"enders\[0\]: must be a map with a type"),
        ("{go_on_after_failure: 1}", "go_on_after_failure: must be true or false"),
        (f"{{time_limit_s: 1{'0' * 400}}}", "time_limit_s: the number is too large"),
        (r'{instruction: "a\0b"}', r"instruction: 'a\\x00b' is not text that can be sent"),
        (r'{instruction: "\udcff"}', r"instruction: '\\udcff' is not text that can be sent"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        goal_from(yaml.safe_load(text))


@pytest.mark.parametrize("place", range(3))
def test_bytes_of_the_command_line_that_are_no_text_are_named(place: int) -> None:
    texts = ["pick", "time: {after_s: 1}", "{host: gpu}"]
    texts[place] = os.fsdecode(b"caf\xe9")  # Latin-1 in a UTF-8 terminal
    with pytest.raises(ValueError, match=r"the command line: .* is not text that can be sent"):
        goal_from_text(texts[0], [texts[1]], texts[2])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"task.yaml cannot be read: .*No such file"):
        goal_from_file(tmp_path / "task.yaml")


def test_a_second_goal_is_refused_where_none_preempts() -> None:
    slot = GoalSlot(preempts=False)
    first = Interrupt()
    assert slot.enter(first) == ""
    assert slot.enter(Interrupt()) == BUSY
    assert first.reason == ""
    slot.leave()
    assert slot.enter(Interrupt()) == ""


def test_a_goal_that_preempts_waits_and_the_newest_of_several_gets_the_place() -> None:
    slot = GoalSlot(preempts=True)
    first = Interrupt()
    slot.enter(first)
    answers: dict[str, str] = {}

    def enter(name: str) -> None:
        answers[name] = slot.enter(Interrupt())

    second = threading.Thread(target=enter, args=["second"])
    second.start()
    wait_until(lambda: first.reason == REPLACED)
    third = threading.Thread(target=enter, args=["third"])
    third.start()
    second.join(10.0)
    assert answers == {"second": REPLACED}
    slot.leave()
    third.join(10.0)
    assert answers["third"] == ""


def test_a_goal_that_waits_for_its_place_does_not_begin_once_the_node_ends() -> None:
    slot = GoalSlot(preempts=True)
    first, second = Interrupt(), Interrupt()
    slot.enter(first)
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(slot.enter(second)))
    waiting.start()
    wait_until(lambda: first.reason == REPLACED)
    slot.close("the task node was shut down")
    waiting.join(10.0)
    assert answers == [first.reason] == ["the task node was shut down"]
    slot.leave()
    assert slot.enter(Interrupt()) == "the task node was shut down"
    assert not slot.is_taken


def test_outcomes_of_enders_and_of_subtasks() -> None:
    unknown, success, failure = Outcome
    assert Outcome.of_enders([unknown, success]) is success
    assert Outcome.of_enders([success, failure]) is failure
    assert Outcome.of_enders([unknown]) is unknown
    assert Outcome.of_subtasks([success, success]) is success
    assert Outcome.of_subtasks([success, unknown]) is unknown
    assert Outcome.of_subtasks([failure, unknown]) is failure
    assert Outcome.of_subtasks([]) is unknown
