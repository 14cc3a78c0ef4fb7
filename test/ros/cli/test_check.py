# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy check`: what `configure` would say, without a graph, a motion or a running node."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import free_port
from policies_for_tests import EchoPolicy, parameters

import gr00t_ros.cli
from gr00t_policy_core import PolicyServer
from gr00t_policy_core.cli import extensions, main
from gr00t_policy_core.kinematics import chain as chain_module

URDF = """<robot name="arm">
<joint name="shoulder" type="revolute"><limit lower="-1" upper="1" velocity="2"/></joint>
<joint name="elbow" type="revolute"><limit lower="-1" upper="1" velocity="2"/></joint>
{}</robot>"""
FINGER = '<joint name="finger" type="prismatic"><limit lower="0" upper="1" velocity="1"/></joint>'


@pytest.fixture
def port() -> Iterator[int]:
    with PolicyServer(EchoPolicy(), host="127.0.0.1", port=0) as server:
        yield server.port


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Writes a file, checks it, and returns the exit status and the lines."""

    def check(*arguments: str, node: str = "/**", **changes: Any) -> tuple[int, list[str]]:
        file = tmp_path / "robot.yaml"
        file.write_text(yaml.safe_dump({node: {"ros__parameters": parameters(**changes)}}))
        status = main(["check", str(file), *arguments])
        return status, capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()

    return check


def test_a_good_file_has_no_problem_and_the_last_line_says_what_was_not_compared(run: Any) -> None:
    assert run() == (
        0,
        [
            "robot.yaml: no problems, not compared with a policy (--host) or a robot description "
            "(--urdf)"
        ],
    )


def test_every_problem_is_named_at_once(run: Any) -> None:
    status, lines = run(action_rate_hz=-1.0, control_rate_hz=1e9, video__front__topic="no topic")
    assert status == 1
    assert lines[-1] == "robot.yaml: 3 problems"
    assert [line.partition(": ")[2].partition(":")[0] for line in lines[:-1]] == [
        "action_rate_hz",
        "control_rate_hz",
        "video.front",
    ]


def test_an_unknown_name_is_reported_with_the_nearest_one(run: Any) -> None:
    status, lines = run(contrl_rate_hz=100.0)
    assert status == 1
    assert lines[0] == ("problem: contrl_rate_hz: no such parameter, did you mean control_rate_hz?")


def test_the_file_is_compared_with_the_policy_of_a_server(run: Any, port: int) -> None:
    arguments = ["--host", "127.0.0.1", "--port", str(port)]
    assert run(*arguments)[0] == 0

    status, lines = run(*arguments, state__gripper__joints=["finger", "thumb"])
    assert status == 1
    assert lines[0] == "problem: state.gripper has 2 values, the policy expects 1"


def test_what_the_nodes_would_warn_of_is_a_warning(run: Any, port: int) -> None:
    status, lines = run("--host", "127.0.0.1", "--port", str(port), blend="rtc")
    assert status == 0
    assert "warning: blend: rtc is set, but the policy cannot continue chunks" in lines[0]
    assert lines[-1].startswith("robot.yaml: no problems, 2 warnings")


def test_a_policy_that_reads_language_wants_an_instruction(run: Any, port: int) -> None:
    status, lines = run("--host", "127.0.0.1", "--port", str(port), instruction="")
    assert status == 0
    assert any(line.startswith("warning: instruction is empty") for line in lines)


@pytest.mark.parametrize(("variable", "works"), [("right", True), ("wrong", False)])
def test_the_token_is_that_of_the_flag_then_of_the_environment_then_of_the_file(
    run: Any, monkeypatch: pytest.MonkeyPatch, variable: str, works: bool
) -> None:
    monkeypatch.setenv("GR00T_API_TOKEN", variable)
    with PolicyServer(EchoPolicy(), host="127.0.0.1", port=0, api_token="right") as server:
        address = ["--host", "127.0.0.1", "--port", str(server.port)]
        assert run(*address, policy__token="of the file")[0] == int(not works)
        assert run(*address, "--api-token", "right", policy__token="of the file")[0] == 0
        monkeypatch.delenv("GR00T_API_TOKEN")
        assert run(*address, policy__token="right")[0] == 0


def test_a_server_that_does_not_answer_is_a_failure(run: Any) -> None:
    port = str(free_port())
    status, lines = run("--host", "127.0.0.1", "--port", port, "--timeout-ms", "300")
    assert (status, lines) == (1, [])


def test_the_joints_and_limits_are_compared_with_a_robot_description(
    run: Any, tmp_path: Path
) -> None:
    urdf = tmp_path / "arm.urdf"
    urdf.write_text(URDF.format(FINGER))
    assert run("--urdf", str(urdf))[0] == 0

    urdf.write_text(URDF.format(""))
    status, lines = run("--urdf", str(urdf))
    assert status == 0
    assert lines[0].startswith("warning: action.gripper: the robot description has no joint finger")
    status, lines = run("--urdf", str(urdf), require_urdf=True)
    assert status == 1
    assert "has no joint finger" in lines[0]
    status, lines = run("--urdf", str(urdf), action__arm__min_position=1.5)
    assert status == 1
    assert "the limits contradict each other" in lines[0]

    urdf.write_text("<sdf/>")
    assert run("--urdf", str(urdf))[1][0] == (
        "problem: the robot description is not a URDF: it is a <sdf>, not a <robot>"
    )


ROOM = {"base": "world", "floor": [0.0, 0.0, 1.0, 0.1]}
END_EFFECTOR = {"type": "end_effector", "base": "world", "representation": "xyz_rpy"}


def below(entry: str, **values: Any) -> dict[str, Any]:
    return {f"{entry}__{name}": copy(value) for name, value in values.items()}


def test_each_end_effector_and_workspace_is_held_to_the_description(
    run: Any, tmp_path: Path
) -> None:
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    links = zip(["world", "upper", "lower"], ["shoulder", "elbow", "wrist"], strict=True)
    joints = "".join(
        f'<link name="{parent}"/><joint name="{name}" type="revolute"><parent link="{parent}"/>'
        f'<child link="{child}"/><axis xyz="0 0 1"/></joint>'
        for (parent, name), child in zip(links, ["upper", "lower", "hand"], strict=True)
    )
    urdf = tmp_path / "arm.urdf"
    urdf.write_text(f'<robot name="arm">{joints}<link name="hand"/></robot>')
    status, lines = run(
        "--urdf",
        str(urdf),
        **below("action__arm", **END_EFFECTOR, tip="hnad"),
        **below("workspace__one", **ROOM, tip="hnad"),
        **below("workspace__two", **ROOM, tip="hand"),
        **below("workspace__three", **ROOM, tip="lower"),
    )
    assert status == 1
    assert lines[:3] == [
        "problem: action.arm: the robot description has no link hnad (did you mean hand?)",
        "problem: workspace.one: the robot description has no link hnad (did you mean hand?)",
        "problem: workspace.two: wrist moves hand against world, and no action commands its "
        "position: choose another base",
    ]


def test_a_file_that_needs_pinocchio_says_so_where_it_is_not_installed(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(chain_module, "import_module", absent)
    status, lines = run(**below("workspace__one", **ROOM, tip="hand"))
    assert status == 1
    assert lines[0].startswith("problem: workspace.one: end effectors and workspaces need Pinocc")


def test_a_file_for_nodes_in_a_namespace_is_checked_there(run: Any) -> None:
    status, lines = run(node="/robot/*")
    assert status == 1
    assert "has nothing for this node: it is /policy_node" in lines[0]
    assert run("--namespace", "robot", node="/robot/*")[0] == 0


def test_a_problem_of_one_node_only_is_found(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    good, bad = parameters(), parameters(control_rate_hz=0.0)
    sections = {"/policy_node": good, "/control_node": bad}
    file.write_text(yaml.safe_dump({k: {"ros__parameters": v} for k, v in sections.items()}))
    assert main(["check", str(file)]) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/**: {ros__parameters: {a: &x 1, b: *x}}", "ROS accepts no anchors"),
        ("/**: [", "line 1"),
        ("/**: {ros__parameters: {state: {a: {joints: [1, x]}}}}", "values of one type"),
        ("hello", "nothing to command"),
        ("policy: {host: gpu-box}", "write the parameters under `/**:`"),
    ],
)
def test_a_file_that_ros_cannot_read_is_explained(
    text: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(text)
    assert main(["check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "problem: " in out
    assert found in out


def test_a_missing_file_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/no/such/file.yaml"]) == 1
    assert "problem: /no/such/file.yaml cannot be read" in capsys.readouterr().out


def test_a_flag_of_the_server_needs_a_host(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("--port", "5555")
    assert exit_.value.code == 2
    assert "--port has no effect: without --host no server is asked" in capsys.readouterr().err


def test_the_environment_is_left_as_it_was(run: Any) -> None:
    before = dict(os.environ)
    run()
    assert dict(os.environ) == before


def test_a_file_with_ten_faults_gets_a_true_line_for_each(run: Any) -> None:
    """What an entry contradicts in itself is told beside the names and values of the others."""
    status, lines = run(
        control_rate_hz=5000.0,
        replan_interval_s="soon",
        blend="crossfade",
        polcy__host="robot",
        video__front__topic="no topic",
        state__gripper__type="joint_staet",
        action__arm__max_velocity=[1.0, 2.0, 3.0],
        action__arm__threshold=0.5,
        action__gripper__min_position=2.0,
        action__gripper__max_position=1.0,
        workspace__arm__base="base",
        workspace__arm__tip="hand",
    )
    assert status == 1
    told = [
        "polcy.host: no such parameter",
        "control_rate_hz: must be 1 to 1000",
        "replan_interval_s: must be a number",
        "blend: must be one of",
        "video.front: 'no topic' is not a valid topic name",
        "state.gripper.type: 'joint_staet' is not a message type",
        "action.arm.threshold: has no effect here",
        "action.arm: max_velocity has 3 values, expected 1 or 2",
        "action.gripper: lower limit 2.0 must be below upper limit 1.0",
        "workspace.arm: ",
    ]
    assert lines[-1] == "robot.yaml: 10 problems", lines
    for start in told:
        assert sum(line.startswith(f"problem: {start}") for line in lines) == 1, (start, lines)


def test_the_core_knows_the_commands_that_need_ros() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    gr00t_ros.cli.add_commands(commands)
    assert sorted(commands.choices) == sorted(extensions.EXTENSIONS["gr00t_ros.cli"])
