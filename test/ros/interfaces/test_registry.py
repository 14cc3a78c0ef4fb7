# SPDX-License-Identifier: Apache-2.0
"""Message types by name, and what is wrong with a class of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sensor_msgs.msg import JointState

from gr00t_ros.interfaces import CommandInterface, StateInterface
from gr00t_ros.interfaces.registry import (
    UnknownTypeError,
    command_types,
    find_command,
    find_state,
    ros_type,
    state_interface,
    state_types,
)

Write = Callable[[str], None]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the module `users_types`, to be imported anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "users_types", raising=False)

    def write(text: str) -> None:
        monkeypatch.delitem(sys.modules, "users_types", raising=False)
        (tmp_path / "users_types.py").write_text(text, encoding="utf-8")

    return write


def test_the_types_are_found_by_the_names_of_their_modules() -> None:
    assert {"float64_multi_array", "joint_state", "pose_stamped"} <= state_types().keys()
    assert command_types().keys() >= {
        "float64_multi_array",
        "joint_state",
        "joint_trajectory",
        "pose_stamped",
        "twist_stamped",
    }


@pytest.mark.parametrize("cls", [*state_types().values(), *command_types().values()])
def test_every_type_is_described_in_a_module_of_its_own(
    cls: type[StateInterface] | type[CommandInterface],
) -> None:
    assert cls.__doc__
    module = cls.__module__.rpartition(".")[2]
    of_module = [*state_types().items(), *command_types().items()]
    assert module in {name for name, other in of_module if other is cls}


def test_a_ros_type_is_written_as_ros_writes_it() -> None:
    assert ros_type(JointState) == "sensor_msgs/msg/JointState"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("servo", "'servo' is not a message type; write one of controller_state | end_effector | "),
        ("pose_stampd", "for one of your own (did you mean pose_stamped?)"),
        ("twist_stamped", "'twist_stamped' is for actions, not for states; write one of "),
        ("users_types:Nothing", "users_types cannot be imported (ModuleNotFoundError: No module"),
        (":Nothing", " cannot be imported (ValueError: "),
    ],
)
def test_a_name_that_is_no_type_is_told_with_those_that_are(name: str, told: str) -> None:
    with pytest.raises(UnknownTypeError) as caught:
        find_state(name)
    assert told in str(caught.value)


def test_a_state_is_no_command() -> None:
    with pytest.raises(
        UnknownTypeError, match=r"one of end_effector \| float64_multi_array \| follow_joint"
    ):
        find_command("servo")


def test_a_module_that_cannot_be_imported_is_told_with_its_reason(write_module: Write) -> None:
    write_module("1 / 0")
    with pytest.raises(UnknownTypeError, match=r"users_types cannot be imported \(ZeroDiv"):
        find_state("users_types:A")


def test_all_missing_methods_are_told_at_once(write_module: Write) -> None:
    write_module("from gr00t_ros.interfaces import CommandInterface as C\nclass A(C): ...")
    with pytest.raises(UnknownTypeError, match="users_types:A lacks the methods fill, make_mess"):
        find_command("users_types:A")


def test_a_pose_that_is_said_to_be_measured_needs_its_method(write_module: Write) -> None:
    write_module(
        "from gr00t_ros.interfaces import StateInterface\n"
        "from geometry_msgs.msg import Pose\n"
        "class A(StateInterface):\n"
        "    message_type = Pose\n"
        "    measures_pose = True\n"
        "    def read(self, message): ..."
    )
    with pytest.raises(UnknownTypeError, match="users_types:A measures a pose and lacks the meth"):
        find_state("users_types:A")


def test_what_is_no_class_is_told(write_module: Write) -> None:
    write_module("A = 1")
    with pytest.raises(UnknownTypeError, match="users_types:A is not a subclass of gr00t_ros"):
        find_state("users_types:A")


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="joint_state is registered twice: JointStateState, int"):
        state_interface("joint_state")(int)  # type: ignore[type-var]
