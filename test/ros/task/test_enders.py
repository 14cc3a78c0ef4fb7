# SPDX-License-Identifier: Apache-2.0
"""Each ender by itself: what it takes, when it is satisfied, and what its settings may be."""

from __future__ import annotations

import math
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float32

from gr00t_ros.msg import ActionChunk, ActionValues, InfoValue
from gr00t_ros.task import Ender
from gr00t_ros.task.ender_goal import ender_message, read_ender
from gr00t_ros.task.ender_registry import ender_types
from gr00t_ros.task.outcome import Outcome


def made(text: str) -> Ender:
    return read_ender(ender_message(text)).make()


def chunk(values: list[float], *, name: str = "arm", **info: float) -> ActionChunk:
    """A chunk of one value, 0.1 s a step."""
    return ActionChunk(
        dt=0.1,
        horizon=len(values),
        actions=[ActionValues(name=name, dimension=1, values=values)],
        info=[InfoValue(name=key, value=float(value)) for key, value in info.items()],
    )


def joint_state(**positions: float) -> JointState:
    return JointState(name=list(positions), position=list(positions.values()))


def pose(x: float, *, yaw_rad: float = 0.0, frame_id: str = "base") -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame_id
    message.pose.position.x = x
    message.pose.orientation.z = math.sin(yaw_rad / 2)
    message.pose.orientation.w = math.cos(yaw_rad / 2)
    return message


def is_satisfied(ender: Ender, *messages: tuple[float, Any]) -> bool:
    """Whether an ender is satisfied after messages, each with its time in s."""
    for at_s, message in messages:
        if isinstance(message, ActionChunk):
            ender.receive_chunk(message, at_s)
        else:
            ender.receive(message, at_s)
    return ender.reading(messages[-1][0]).is_satisfied


def test_time_passes() -> None:
    ender = made("time: {after_s: 2}")
    assert ender.reading(1.0).progress == 0.5
    assert ender.reading(2.0).is_satisfied


@pytest.mark.parametrize(
    ("text", "messages", "expected"),
    [
        ("convergence: {for_s: 1}", [(0, chunk([0, 0.01])), (1, chunk([0, 0.01]))], True),
        ("convergence: {for_s: 1}", [(0, chunk([0, 0.01])), (1, chunk([0, 0.5]))], False),
        ("convergence: {for_s: 0, below: 1}", [(0, chunk([0, 0.5]))], True),
        ("convergence: {for_s: 0, velocity_keys: [arm]}", [(0, chunk([0.5, 0.5]))], False),
        ("convergence: {for_s: 0, velocity_keys: [arm]}", [(0, chunk([0.01, 0.01]))], True),
        ("convergence: {for_s: 0, keys: [hand]}", [(0, chunk([0, 0]))], False),
        ("joint: {joint: j, below: 1}", [(0, joint_state(i=5, j=0.5))], True),
        ("joint: {joint: j, below: 1}", [(0, joint_state(j=1.0))], False),
        (
            "joint: {joint: j, above: 0, for_s: 1}",
            [(0, joint_state(j=1)), (9, JointState())],
            False,
        ),
        ("joint: {joint: j, above: 0, below: 1}", [(0, joint_state(j=math.nan))], False),
        ("bool: {topic: t}", [(0, Bool(data=True))], True),
        ("bool: {topic: t, for_s: 1}", [(0, Bool(data=True)), (0.9, Bool(data=True))], False),
        ("float: {topic: t, above: 0.5}", [(0, Float32(data=0.75))], True),
        ("float: {topic: t, above: 0.5}", [(0, Float32(data=math.nan))], False),
        ("policy: {key: done}", [(0, chunk([0], done=True))], True),
        ("policy: {key: done}", [(0, chunk([0], done=False))], False),
        ("policy: {key: done}", [(0, chunk([0], dome=True))], False),
        ("policy: {key: left, above: -.inf, below: 3}", [(0, chunk([0], left=2))], True),
        ("pose: {topic: t, position: [1, 0, 0]}", [(0, pose(1.01))], True),
        ("pose: {topic: t, position: [1, 0, 0]}", [(0, pose(1.1))], False),
        ("pose: {topic: t, position: [1, 0, 0], frame_id: tip}", [(0, pose(1.0))], False),
        (
            "pose: {topic: t, position: [1, 0, 0], orientation: [0, 0, 0, -2], within_rad: 0.2}",
            [(0, pose(1.0, yaw_rad=0.1))],
            True,
        ),
        (
            "pose: {topic: t, position: [1, 0, 0], orientation: [0, 0, 0, 1], within_rad: 0.2}",
            [(0, pose(1.0, yaw_rad=0.3))],
            False,
        ),
    ],
)
def test_an_ender_is_satisfied_by_what_it_is_asked_for(
    text: str, messages: list[tuple[float, Any]], expected: bool
) -> None:
    assert is_satisfied(made(text), *messages) is expected


def test_silence_lets_no_time_pass() -> None:
    ender = made("bool: {topic: t, for_s: 1}")
    ender.receive(Bool(data=True), 0.0)
    assert ender.reading(100.0).progress == 0.0
    ender.receive(Bool(data=False), 100.0)
    ender.receive(Bool(data=True), 101.0)
    assert not ender.reading(101.0).is_satisfied


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("joint", "joint: no joint given"),
        ("joint: {joint: j}", "give `above`, `below` or both"),
        ("joint: {joint: j, above: 2, below: 1}", "`above` 2 must be less than `below` 1"),
        ("joint: {joint: j, belwo: 1}", r"belwo: no such setting \(did you mean below\?\)"),
        ("joint: {joint: j, above: high}", "above: must be a number, got 'high'"),
        ("joint: {joint: j, above: .nan}", "above: must be a number, got nan"),
        ("joint: {joint: j, above: 1, topic: 'a b'}", "'a b' is not a valid topic name"),
        ("time: {after_s: -1}", "after_s: must be 0 to 86400, got -1"),
        ("tiem: {after_s: 1}", r"'tiem' is not an ender; .*\(did you mean time\?\)"),
        ("pose: {topic: t}", "position: must be three numbers"),
        ("pose: {topic: t, position: [0, 0, 0], within_rad: 1}", "give both or neither"),
        ("nowhere.enders:Mine", "nowhere.enders cannot be imported"),
        ("collections:OrderedDict", "is not a subclass of gr00t_ros.task.Ender"),
        ("time: {after_s: 1, outcome: won}", "outcome must be one of unknown | success | failure"),
        ("[1, 2]", "must be a type and its settings"),
        ("time: 3", "an ender is a type and a map of settings"),
        ("{", "is not YAML"),
    ],
)
def test_what_is_wrong_with_an_ender_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("|", r"\|")):
        made(text)


def test_a_goal_may_say_what_an_end_means() -> None:
    assert read_ender(ender_message("bool: {topic: t}")).outcome is Outcome.SUCCESS
    assert (
        read_ender(ender_message("bool: {topic: t, outcome: failure}")).outcome is Outcome.FAILURE
    )
    assert read_ender(ender_message("time: {after_s: 1}")).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", sorted(ender_types()))
def test_every_ender_describes_itself(name: str) -> None:
    cls = ender_types()[name]
    assert cls.__doc__
    assert all(parameter.description for parameter in cls.parameters)
    assert (cls.message_type is not None) == any(p.name == "topic" for p in cls.parameters)
