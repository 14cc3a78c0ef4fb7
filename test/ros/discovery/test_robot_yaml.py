# SPDX-License-Identifier: Apache-2.0
"""The file of a proposal is read by rcl, whatever the keys and topics are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gr00t_policy_core.errors import SpecError
from gr00t_ros.discovery.matching import Entry, Proposal
from gr00t_ros.discovery.robot_yaml import FileHead, robot_yaml
from gr00t_ros.node.offline_nodes import contract_of_file

HEAD = FileHead(
    host="gpu-box", port=5555, action_rate_hz=30.0, has_instruction=True, descriptions=()
)
JOINTS = {"type": "joint_state", "topic": "/joint_states", "joints": ["a", "b"]}
COMMAND = {"type": "joint_trajectory", "topic": "/arm/joint_trajectory", "joints": ["a", "b"]}


def proposal(key: str = "arm", *, why: str = "") -> Proposal:
    return Proposal(
        video=(Entry("front", {"topic": "/front/image_raw"}),),
        state=(Entry(key, JOINTS), Entry("tool", {}, why)) if why else (Entry(key, JOINTS),),
        action=(
            Entry(key, COMMAND, alternatives=("/other (joint_trajectory)",)),
            *((Entry("tool", {}, why),) if why else ()),
        ),
    )


@pytest.mark.parametrize(
    "key", ["arm", "on", "0.5", "1e5", "a.b", "null", "left-arm", "Ä: #", "😀", "a.b: c", "a.#b"]
)
def test_a_key_of_any_name_is_read_as_it_is(key: str, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(robot_yaml(proposal(key), HEAD), encoding="utf-8")
    contract = contract_of_file(file)
    assert [output.key for output in contract.action] == [key]
    assert [state.key for state in contract.state] == [key]
    assert contract.policy.host == "gpu-box"


def test_what_was_not_found_is_a_comment_and_moves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    text = robot_yaml(proposal(why="7 values a step;\nthere are no topics"), HEAD)
    file.write_text(text, encoding="utf-8")
    contract = contract_of_file(file)
    assert (contract.ignored, [s.key for s in contract.state]) == (("tool",), ["arm"])
    assert "      # tool: nothing was found. 7 values a step;?there are no topics\n" in text
    assert "# or, if that controller is active: /other (joint_trajectory)" in text


def test_a_robot_of_which_nothing_was_found_is_still_a_file_that_ros_reads(tmp_path: Path) -> None:
    nothing = Proposal((Entry("front", {}, "x"),), (Entry("arm", {}, "x"),), (Entry("a", {}, "x"),))
    file = tmp_path / "robot.yaml"
    file.write_text(robot_yaml(nothing, HEAD), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        contract_of_file(file)
    assert error.value.problems == [
        "no video.<key>.topic and no state.<key>.topic: nothing to observe",
        "no action.<key>.topic: nothing to command",
    ]


@pytest.mark.parametrize(
    ("topics", "heard"),
    [
        (("/robot_description", "/left/robot_description"), "robot_description"),
        (("/left/robot_description",), "/left/robot_description"),
    ],
)
def test_a_description_that_the_nodes_would_not_find_is_named(
    topics: tuple[str, ...], heard: str, tmp_path: Path
) -> None:
    file = tmp_path / "robot.yaml"
    text = robot_yaml(proposal(), replace(HEAD, descriptions=topics))
    file.write_text(text, encoding="utf-8")
    assert contract_of_file(file).motion.robot_description_topics == (heard,)


def limits_in(text: str, tmp_path: Path) -> list[tuple[float, float]]:
    """The velocity and the acceleration that each joint of the first action may have."""
    file = tmp_path / "robot.yaml"
    file.write_text(text, encoding="utf-8")
    limits = contract_of_file(file).action[0].limits
    return [(limit.velocity, limit.acceleration) for limit in limits]


@pytest.mark.parametrize("key", ["arm", "left.arm"])
def test_joints_that_turn_begin_slowly(key: str, tmp_path: Path) -> None:
    assert limits_in(robot_yaml(proposal(key), HEAD), tmp_path) == [(1.0, 5.0), (1.0, 5.0)]


def test_a_joint_that_slides_gets_no_limit_in_radians(tmp_path: Path) -> None:
    text = robot_yaml(proposal(), replace(HEAD, sliding_joints=frozenset({"b"})))
    assert limits_in(text, tmp_path) == [(3.0, 25.0), (3.0, 25.0)]
    assert "# max_velocity: 0.1   # m/s" in text


def test_the_keys_of_a_secured_server_are_in_the_file_and_its_token_is_not(tmp_path: Path) -> None:
    secured = replace(HEAD, server_key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", keys="/keys/a")
    file = tmp_path / "robot.yaml"
    file.write_text(robot_yaml(proposal(), secured), encoding="utf-8")
    settings = contract_of_file(file).policy
    assert (settings.server_key, settings.keys) == (secured.server_key, secured.keys)
    assert settings.token is None
    assert "      # token: " in file.read_text(encoding="utf-8")


def test_several_descriptions_are_left_to_the_reader() -> None:
    topics = ("/left/robot_description", "/right/robot_description")
    text = robot_yaml(proposal(), replace(HEAD, descriptions=topics))
    assert "# /left/robot_description, /right/robot_description\n" in text
