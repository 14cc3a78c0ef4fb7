# SPDX-License-Identifier: Apache-2.0
"""docs/how-to/add-a-message-type.md: its example runs, and its errors are those that are told."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import Twist
from policies_for_tests import parameters
from sensor_msgs.msg import Range

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.interfaces import ConversionError
from gr00t_ros.interfaces.conversions import state_reader

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-message-type.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MODULE, TRIAL, REGISTERED = [text for language, text in BLOCKS if language == "python"]
FILE = [text for language, text in BLOCKS if language == "yaml"][1]


@pytest.fixture(autouse=True)
def my_robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "my_robot"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "message_types.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_robot"]:
        del sys.modules[name]


def values_of(text: str = FILE) -> dict[str, Any]:
    """A robot that has nothing but what the page's file says."""
    others = parameters(max_jump=None)
    others = {name: v for name, v in others.items() if not name.startswith(("state.", "action."))}
    return {**others, **dict(flat(yaml.safe_load(text)["/**"]["ros__parameters"]))}


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def contract() -> Contract:
    return parse_contract(values_of())


def test_the_trial_of_the_page_passes() -> None:
    exec(compile(TRIAL, str(PAGE), "exec"), {})


def test_the_state_of_the_page_is_read() -> None:
    (stream,) = contract().state_streams
    read = state_reader(stream)
    assert read(Range(range=0.5, min_range=0.02, max_range=1.0)).tolist() == [0.5]
    assert read(Range(range=1.5, min_range=0.02, max_range=1.0)).tolist() == [2.0]
    with pytest.raises(ConversionError, match="less than the sensor can measure"):
        read(Range(range=0.01, min_range=0.02, max_range=1.0))
    assert (stream.ros_type, stream.dimension) == ("sensor_msgs/msg/Range", 1)


def test_the_command_of_the_page_is_filled_and_limited() -> None:
    (output,) = contract().action
    message = output.interface.make_message(0.01)
    output.interface.fill(message, np.arange(6.0), None)
    assert isinstance(message, Twist)
    assert (message.linear.z, message.angular.x) == (2.0, 3.0)
    assert output.body_limits is not None
    assert output.body_limits.linear_velocity == 0.5


def test_the_registered_class_of_the_page_is_python() -> None:
    compile(REGISTERED, str(PAGE), "exec")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("my_robot.message_types:R", "my_rob.types:R", "cannot be imported (ModuleNotFoundError: "),
        ("RangeState", "RangeStat", "has no class RangeStat (did you mean RangeState?)"),
        ("RangeState", "TwistCommand", "is not a subclass of gr00t_ros.interfaces.StateInterface"),
    ],
)
def test_a_type_that_cannot_be_found_is_told_as_on_the_page(
    before: str, after: str, told: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse_contract(values_of(FILE.replace(before, after, 1)))
    (problem,) = [text for text in caught.value.problems if "state.distance.type" in text]
    assert told in problem
    assert_on_the_page(told)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("def read(", "def reads(", "lacks the method read"),
        ("message_type = Range", "kind = Range", "lacks message_type, the class of a ROS message"),
        (
            'Parameter("no_echo_m"',
            'Parameter("topic"',
            "has parameters that every state has, call them something else: topic",
        ),
    ],
)
def test_a_class_that_lacks_something_is_told_as_on_the_page(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    assert before in MODULE
    module = tmp_path / "my_robot" / "message_types.py"
    module.write_text(MODULE.replace(before, after), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        contract()
    (problem,) = [text for text in caught.value.problems if "state.distance.type" in text]
    assert told in problem
    assert_on_the_page(told)


def assert_on_the_page(told: str) -> None:
    assert told in PAGE.read_text(encoding="utf-8")
