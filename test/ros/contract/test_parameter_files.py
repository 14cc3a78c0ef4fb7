# SPDX-License-Identifier: Apache-2.0
"""Parameter files as people write them: what is wrong is said once, plainly, and with a remedy."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
import yaml
from helpers import wait_until
from rclpy.context import Context

from gr00t_ros.contract.parameter_files import (
    files_in,
    mangled_blocks,
    sections_of,
    unmatched,
    why_unreadable,
)
from gr00t_ros.node.lifecycle import WRONG_ARGUMENTS
from gr00t_ros.node.startup import init_ros

START = "import sys; from gr00t_ros.control.control_node import main; sys.exit(main(sys.argv))"
ROBOT = """
/**:
  ros__parameters:
    action_rate_hz: 20.0
    state:
      arm: {type: joint_state, topic: joint_states, joints: [shoulder, elbow]}
    action:
      arm: {type: joint_trajectory, topic: commands, joints: [shoulder, elbow]}
"""
DOTTED = """
/**:
  ros__parameters:
    state:
      shoulder_pan.pos:
        type: joint_state
        topic: joint_states
        joints: [shoulder_pan]
      shoulder_lift.pos:
        type: joint_state
        topic: joint_states
        joints: [shoulder_lift]
    action_rate_hz: 20.0
    action:
      left:
        a.pos: {topic: t1}
        b: {topic: t2}
      gripper: {topic: t3}
"""


def started(
    tmp_path: Path, text: str | bytes, *arguments: str, until: str = ""
) -> tuple[int, list[str]]:
    """The exit status of a control node with a parameter file, and what it logs of ours.

    A node that starts goes on: it is told to end once it has logged `until`.
    """
    file, log = tmp_path / "robot.yaml", tmp_path / "log"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    command = [sys.executable, "-c", START, "--ros-args", "--params-file", str(file), *arguments]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        wait_until(
            lambda: process.poll() is not None or (until and until in log.read_text()),
            60.0,
            "the process says something, or ends",
        )
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
    finally:
        process.kill()
    said = log.read_text()
    assert "Traceback" not in said, said
    lines = [line for line in said.splitlines() if "[rcl]" not in line]
    return status, [line.replace(str(file), "robot.yaml") for line in lines]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            ROBOT.replace("elbow]}", "elbow}"),
            "robot.yaml, line 6, column 77: while parsing a flow sequence; expected "
            "',' or ']', but got '}'",
        ),
        (
            ROBOT.replace("    action:", "\taction:"),
            "robot.yaml, line 7, column 1: while scanning for the next token; found "
            "character '\\t' that cannot start any token",
        ),
        (
            "action_rate_hz: 20.0",
            "robot.yaml: Cannot have a value before ros__parameters at line 1; write the "
            "parameters under `/**:` and, below that, `ros__parameters:`",
        ),
        (
            ROBOT.replace("20.0", ""),
            'robot.yaml: No value at line 4; a name has no value: write "" for an empty '
            "text, or leave the name out",
        ),
        (
            ROBOT.replace("elbow]", "2]"),
            "robot.yaml: Sequence should be of same type. Value type 'integer' do not belong at "
            "line_num 6; a list must hold values of one type: names in quotes, and 1.0 among "
            "numbers",
        ),
        (
            ROBOT.replace("[shoulder, elbow]", "&names [shoulder, elbow]", 1).replace(
                "joints: [shoulder, elbow]", "joints: *names"
            ),
            "robot.yaml, line 8, column 62: ROS accepts no anchors and aliases (& and *), write "
            "the value out",
        ),
        ("/**: &a {b: *a}", "robot.yaml, line 1, column 13: ROS accepts no anchors"),
        (
            f"{ROBOT}    action_rate_hz: 30.0",
            "robot.yaml, line 9, column 5: action_rate_hz is given twice",
        ),
        (f"{ROBOT}    state: 3", "robot.yaml, line 9, column 5: state is given twice"),
        (b"/**: '\xff'", "robot.yaml is not UTF-8: 'utf-8' codec can't decode byte 0xff"),
        (
            DOTTED,
            "robot.yaml: state.shoulder_lift.pos: ROS reads this block as "
            "state.shoulder_pan.shoulder_lift.pos, since the name of a block before it has a dot; "
            "write each of its parameters as one line, such as `state.shoulder_lift.pos.topic: …`, "
            "right under ros__parameters",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    tmp_path: Path, text: str | bytes, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "robot.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert not init_ros(["--ros-args", "--params-file", str(file)])
    lines = [line for line in capfd.readouterr().err.splitlines() if "[FATAL]" in line]
    assert said in lines[0].replace(str(file), "robot.yaml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--params-file", "no.yaml"], "no.yaml cannot be read: No such file or directory"),
        (["--rmap", "a:=b"], "ROS rejects the arguments of the process: ['--rmap', 'a:=b']"),
        (["-p", "a:=[1"], "ROS rejects the arguments of the process: failed to initialize rcl: "),
    ],
)
def test_arguments_that_ros_refuses_are_told(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not init_ros(["--ros-args", *arguments])
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "[FATAL]" in line]
    assert said in line


def test_a_process_ends_with_a_status_and_no_traceback(tmp_path: Path) -> None:
    status, (line,) = started(tmp_path, ROBOT.replace("elbow]}", "elbow}"))
    assert status == WRONG_ARGUMENTS
    assert "robot.yaml, line 6, column 77: while" in line


def test_an_empty_list_is_one(tmp_path: Path) -> None:
    nobody = ROBOT.replace("joints: [shoulder, elbow]}", "joints: []}")
    says = "no joints given"
    _, lines = started(tmp_path, nobody, "-p", "autostart:=true", until=says)
    assert lines[0].endswith("cannot configure, bad parameters:")
    assert lines[1:2] == ["  - state.arm.joints: no joints given"]


def test_a_file_that_is_for_another_name_is_told_with_what_to_write(tmp_path: Path) -> None:
    bare = ROBOT.replace("/**:", "control_node:")
    _, lines = started(tmp_path, bare, "-r", "__ns:=/left", until="has nothing for this node")
    (line,) = [line for line in lines if "robot.yaml" in line]
    assert (
        "robot.yaml has nothing for this node: it is /left/control_node, the file is for "
        "control_node; write `/**:` for every node, or `/left/control_node:`"
    ) in line
    wrong = bare.replace("elbow", "elbwo", 1)
    says = "no state measures the position of elbow"
    _, lines = started(tmp_path, wrong, "-p", "autostart:=true", until=says)
    assert not [line for line in lines if "robot.yaml" in line]


@pytest.mark.parametrize(
    "text", [ROBOT, "", f"{ROBOT}    policy: {{port: 1}}\n    policy: {{host: a}}"]
)
def test_nothing_is_said_of_a_file_that_is_fine(tmp_path: Path, text: str) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(text)
    assert why_unreadable(file) == ""
    assert list(mangled_blocks(file)) == []
    given = ["action_rate_hz", "policy.hosts"]
    assert list(unmatched([file], "/control_node", given)) == []


def test_files_are_those_of_the_arguments() -> None:
    arguments = ["node", "--ros-args", "--params-file", "a.yaml", "-p", "x:=1", "--params-file"]
    assert files_in(arguments) == [Path("a.yaml")]


def test_sections_may_be_written_in_blocks(tmp_path: Path) -> None:
    file = tmp_path / "robots.yaml"
    file.write_text(
        yaml.safe_dump({"left": {"control_node": {"ros__parameters": {"a": {"b": 1, "c": [2]}}}}})
    )
    (section,) = sections_of(file)
    assert (section.node, section.names) == ("left/control_node", ["a.b", "a.c"])


def test_every_block_after_one_with_a_dot_is_named_up_to_the_end_of_its_modality(
    tmp_path: Path,
) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(DOTTED)
    told = [problem.split(", since")[0] for problem in mangled_blocks(file)]
    assert told == [
        f"{file}: state.shoulder_lift.pos: ROS reads this block as "
        "state.shoulder_pan.shoulder_lift.pos",
        f"{file}: action.left.b: ROS reads this block as action.left.a.b",
        f"{file}: action.gripper: ROS reads this block as action.left.gripper",
    ]
    # This is what rcl really makes of it.
    context = Context()
    rclpy.init(args=["--ros-args", "--params-file", str(file)], context=context)
    node = rclpy.create_node("any", context=context, allow_undeclared_parameters=True)
    names = set(node._parameter_overrides)
    node.destroy_node()
    context.try_shutdown()
    assert names >= {
        "state.shoulder_pan.pos.topic",
        "state.shoulder_pan.shoulder_lift.pos.topic",
        "action_rate_hz",
        "action.left.a.pos.topic",
        "action.left.a.b.topic",
        "action.left.gripper.topic",
    }
